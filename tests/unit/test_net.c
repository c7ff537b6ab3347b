/* Layout of the parameters, bounds of the shape, rotation of an event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "model/net.h"

#define DAY_US (INT64_C(86400) * 1000000)

static void test_layout_init_leaves_no_gap(void **state)
{
    (void)state;
    struct net_shape s;
    struct net_layout l;
    struct errmsg e;
    net_shape_default(&s, 128, 2000);
    assert_int_equal(net_layout_init(&l, &s, &e), ERR_OK);
    size_t at = 0;
    for (int k = 0; k < NET_KIND_COUNT; k++) {
        uint32_t copies = k >= NET_NORM1 && k <= NET_W2 ? s.layers : 1;
        for (uint32_t i = 0; i < copies; i++) {
            assert_int_equal(l.offset[k][i], at);
            at += l.size[k];
        }
    }
    assert_int_equal(l.total, at);
    assert_int_equal(l.size[NET_TABLE], 2000 * 96);
    assert_int_equal(l.size[NET_Q], 4 * (16 + 16) * 96);
    assert_int_equal(l.size[NET_W1], 16 * 2 * 16 * 96);
}

static void test_layout_init_names_the_bad_size(void **state)
{
    (void)state;
    struct net_shape s;
    struct net_layout l;
    struct errmsg e;
    const struct {
        size_t at;
        uint32_t value;
        const char *name;
    } bad[] = {
        {offsetof(struct net_shape, columns), 0, "columns"},
        {offsetof(struct net_shape, columns), 1025, "columns"},
        {offsetof(struct net_shape, width), 62, "width"},
        {offsetof(struct net_shape, layers), NET_LAYERS_MAX + 1, "layers"},
        {offsetof(struct net_shape, rope), 15, "rope"},
        {offsetof(struct net_shape, experts), 1, "top"},
        {offsetof(struct net_shape, bins), 127, "bins"},
        {offsetof(struct net_shape, window), 0, "window"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        net_shape_default(&s, 128, 2000);
        memcpy((char *)&s + bad[i].at, &bad[i].value, sizeof bad[i].value);
        l.total = 12345;
        assert_int_equal(net_layout_init(&l, &s, &e), ERR_INVALID);
        assert_non_null(strstr(e.text, bad[i].name));
        assert_int_equal(l.total, 12345);
    }
}

static void test_tensor_name_of_every_kind(void **state)
{
    (void)state;
    for (int k = 0; k < NET_KIND_COUNT; k++) {
        assert_non_null(net_tensor_name((enum net_tensor_kind)k));
        assert_string_not_equal(net_tensor_name((enum net_tensor_kind)k), "unknown");
    }
    assert_string_equal(net_tensor_name(NET_KIND_COUNT), "unknown");
}

/* Against libm on the plain formula.  The angle's error is 2^-53 of up to 20,000 days / .04, times
 * 2 pi: 4e-10; the rest is rounding to float. */
static void test_rotation_follows_its_periods(void **state)
{
    (void)state;
    float c[8];
    float s[8];
    const int64_t times[] = {0, 1, -DAY_US * 3 - 17, INT64_C(1775000000123456), DAY_US * 20000};
    for (size_t t = 0; t < sizeof times / sizeof times[0]; t++) {
        net_rotation(times[t], 16, c, s);
        for (int k = 0; k < 8; k++) {
            double period = 0.04 * pow(1500, k / 7.0);
            double angle = fmod((double)times[t] / 86400e6 / period, 1) * 2 * 3.14159265358979324;
            assert_true(fabs((double)c[k] - cos(angle)) < 1e-6);
            assert_true(fabs((double)s[k] - sin(angle)) < 1e-6);
        }
    }
}

static void test_rotation_of_one_pair(void **state)
{
    (void)state;
    float c;
    float s;
    net_rotation(DAY_US / 100, 2, &c, &s); /* a quarter of .04 days */
    assert_true(fabsf(c) < 1e-6F);
    assert_true(fabsf(s - 1) < 1e-6F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_init_leaves_no_gap),
        cmocka_unit_test(test_layout_init_names_the_bad_size),
        cmocka_unit_test(test_tensor_name_of_every_kind),
        cmocka_unit_test(test_rotation_follows_its_periods),
        cmocka_unit_test(test_rotation_of_one_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
