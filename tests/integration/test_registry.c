/* The model registry against a real PostgreSQL, and a promotion that goes out over a real Kafka. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/notice.h"
#include "features/schema.h"
#include "model/model_format.h"
#include "storage/registry.h"
#include "tests/support/capture.h"
#include "tests/support/cluster.h"
#include "tests/support/database.h"
#include "tests/support/net_twin.h"

#define MODELS 3
#define ACTIVE 7                         /* columns with variance */
#define DAY0 (INT64_C(20544) * TIME_DAY) /* 2026-04-01 */

struct made {
    struct registry_bytes bytes;
    struct model *model;
    const char *version;
    char path[80];
};

static struct database server;
static struct db *db;
static struct cluster cluster;
static struct capture said;
static struct made made[MODELS];
static char folder[] = "/tmp/test_registry_XXXXXX";
static char topic[96];

/* Model i, trained until day i; packed and in a file, the state beside it (none for the last). */
static void make(int i)
{
    struct made *m = &made[i];
    struct net_shape shape;
    struct feature_params p;
    struct errmsg e = {""};
    char state[90];
    net_shape_default(&shape, FEAT_DIM, 0);
    shape.bins = 0;
    feature_params_default(&p);
    struct train_result *r = twin_random(&shape, ACTIVE, 0, (uint64_t)i + 1);
    const struct model_lineage l = {.data_from_us = DAY0 - 90 * TIME_DAY,
                                    .data_until_us = DAY0 + i * TIME_DAY,
                                    .rows = 1000,
                                    .frauds = 10,
                                    .seed = 7,
                                    .schema_hash = feature_schema_hash(&p) + (i == 2),
                                    .maturity_us = p.maturity_us,
                                    .blame_ratio = p.blame_ratio,
                                    .blame_tail = p.blame_tail,
                                    .rates_version = p.rates_version,
                                    .code_version = "test",
                                    .blas_core = "none",
                                    .holdout_auc = .9,
                                    .holdout_ap = .5,
                                    .holdout_brier = (double)NAN};
    database_must(model_pack(r, &l, &m->bytes.model, &m->bytes.model_len, &e), &e);
    database_must(model_load(m->bytes.model, m->bytes.model_len, &m->model, &e), &e);
    m->version = model_lineage(m->model)->version;
    snprintf(m->path, sizeof m->path, "%s/%d.fraudd", folder, i);
    database_must(file_write(m->path, m->bytes.model, m->bytes.model_len, &e), &e);
    if (i < MODELS - 1) {
        database_must(
            train_state_pack(r, model_hash(m->model), &m->bytes.state, &m->bytes.state_len, &e),
            &e);
        snprintf(state, sizeof state, "%s.state", m->path);
        database_must(file_write(state, m->bytes.state, m->bytes.state_len, &e), &e);
    }
    twin_free(r);
}

static int start(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    database_start(&server);
    db = server.db;
    cluster_start(&cluster);
    cluster_name(topic, "notices");
    cluster_topic(&cluster, topic, 1, NULL);
    setenv("FRAUDD_DATABASE", server.server.conninfo, 1);
    setenv("FRAUDD_BROKERS", cluster.brokers, 1);
    setenv("FRAUDD_TOPICS_NOTICES", topic, 1);
    for (int i = 0; i < MODELS; i++) {
        make(i);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    char line[80];
    for (int i = 0; i < MODELS; i++) {
        registry_bytes_done(&made[i].bytes);
        model_free(made[i].model);
    }
    capture_done(&said);
    cluster_stop(&cluster);
    database_stop(&server);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

static int empty(void **state)
{
    (void)state;
    database_run(db, "TRUNCATE models");
    database_empty_audit(db);
    return 0;
}

static int run(const char *action, const char *argument, const char *options)
{
    char line[300];
    snprintf(line, sizeof line, "model %s %s %s", action, argument, options);
    return capture_run(&said, cmd_model, line);
}

static void import_all(void)
{
    for (int i = 0; i < MODELS; i++) {
        if (run("import", made[i].path, "--as ada") != EXIT_OK) {
            fail_msg("%s", said.err);
        }
    }
}

/* "version:state" of all models, in order of version. */
static void states_are(const char *a, const char *b, const char *c)
{
    char wanted[200];
    char *states = database_text(
        db, "SELECT string_agg(version || ':' || state, ' ' ORDER BY version) FROM models");
    snprintf(wanted, sizeof wanted, "%s:%s %s:%s %s:%s", made[0].version, a, made[1].version, b,
             made[2].version, c);
    assert_string_equal(states, wanted);
    free(states);
}

static void test_import_and_export_give_the_same_bytes(void **state)
{
    (void)state;
    char path[100];
    char file[110];
    uint8_t *bytes = NULL;
    size_t len = 0;
    import_all();
    assert_non_null(strstr(said.out, "is a candidate, without a training state\n"));
    assert_int_equal(run("import", made[0].path, ""), EXIT_OK);
    assert_non_null(strstr(said.out, "is there already\n"));
    snprintf(path, sizeof path, "%s/out.fraudd", folder);
    assert_int_equal(run("export", made[0].version, path), EXIT_OK);
    assert_int_equal(file_read(path, 1 << 28, &bytes, &len, NULL), ERR_OK);
    assert_int_equal(len, made[0].bytes.model_len);
    assert_memory_equal(bytes, made[0].bytes.model, len);
    free(bytes);
    snprintf(file, sizeof file, "%s.state", path);
    assert_int_equal(file_read(file, 1 << 28, &bytes, &len, NULL), ERR_OK);
    assert_int_equal(len, made[0].bytes.state_len);
    assert_memory_equal(bytes, made[0].bytes.state, len);
    free(bytes);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'model add' AND "
                                        "who = 'ada'"),
                     MODELS);
}

static void test_a_model_is_put_in_writing(void **state)
{
    (void)state;
    char line[160];
    const struct model_lineage *l = model_lineage(made[0].model);
    import_all();
    assert_int_equal(run("document", made[0].version, ""), EXIT_OK);
    snprintf(line, sizeof line, "# Model %s\nA full training, without a parent\n", l->version);
    assert_non_null(strstr(said.out, line));
    snprintf(line, sizeof line, "- %" PRIu64 " training rows, %" PRIu64 " of them frauds", l->rows,
             l->frauds);
    assert_non_null(strstr(said.out, line));
    char *of_registry = strdup(said.out);
    assert_int_equal(run("document", made[0].path, ""), EXIT_OK);
    assert_string_equal(said.out, of_registry);
    free(of_registry);
}

static void test_add_refuses_other_bytes_of_the_same_version(void **state)
{
    (void)state;
    struct errmsg e = {""};
    bool is_new = false;
    const struct model_lineage *l = model_lineage(made[0].model);
    database_must(registry_add(db, &made[0].bytes, l, 1, "ada", &is_new, &e), &e);
    assert_true(is_new);
    assert_int_equal(registry_add(db, &made[1].bytes, l, 1, "ada", &is_new, &e), ERR_REFUSED);
    assert_non_null(strstr(e.text, "the registry has another model of version "));
    assert_int_equal(database_count(db, "SELECT count(*) FROM models"), 1);
}

static void test_import_refuses_a_damaged_file_and_anothers_state(void **state)
{
    (void)state;
    char path[100];
    char beside[110];
    struct errmsg e = {""};
    snprintf(path, sizeof path, "%s/bad.fraudd", folder);
    snprintf(beside, sizeof beside, "%s.state", path);
    made[0].bytes.model[1000] ^= 1;
    database_must(file_write(path, made[0].bytes.model, made[0].bytes.model_len, &e), &e);
    made[0].bytes.model[1000] ^= 1;
    assert_int_equal(run("import", path, ""), EXIT_DATA);
    database_must(file_write(path, made[0].bytes.model, made[0].bytes.model_len, &e), &e);
    database_must(file_write(beside, made[1].bytes.state, made[1].bytes.state_len, &e), &e);
    assert_int_equal(run("import", path, ""), EXIT_DATA);
    assert_non_null(strstr(said.err, "the training state belongs to model "));
    assert_int_equal(run("import", "/nowhere/model", ""), EXIT_NO_INPUT);
    assert_int_equal(database_count(db, "SELECT count(*) FROM models"), 0);
}

static void test_show_says_the_same_of_file_and_registry(void **state)
{
    (void)state;
    import_all();
    assert_int_equal(run("show", made[0].path, ""), EXIT_OK);
    assert_non_null(strstr(said.out, "\nrows\t1000\n"));
    assert_non_null(strstr(said.out, "\ndata_until\t2026-04-01T00:00:00Z\n"));
    assert_non_null(strstr(said.out, "\nheld_out_ap\t0.5000\n"));
    assert_null(strstr(said.out, "held_out_brier"));
    assert_non_null(strstr(said.out, "\nschema_is_ours\ttrue\n"));
    assert_non_null(strstr(said.out, "\ncolumns_without_variance\t"));
    assert_int_equal(run("show", made[1].version, ""), EXIT_OK);
    assert_non_null(strstr(said.out, "\nstate\tcandidate\n"));
    assert_non_null(strstr(said.out, made[1].version));
    assert_int_equal(run("show", made[2].path, "--json"), EXIT_OK);
    assert_non_null(strstr(said.out, "\"held_out_brier\": null"));
    assert_non_null(strstr(said.out, "\"schema_is_ours\": false"));
    assert_int_equal(run("show", "20000101-nothere", ""), EXIT_NO_INPUT);
    assert_string_equal(said.err, "fraudd model show: there is no model 20000101-nothere; `fraudd "
                                  "model list` shows them\n");
}

static void test_show_names_columns_without_variance(void **state)
{
    (void)state;
    const struct net_encoding *en = model_encoding(made[0].model);
    size_t constant = 0;
    assert_int_equal(run("show", made[0].path, ""), EXIT_OK);
    const char *line = strstr(said.out, "\ncolumns_without_variance\t") + 26;
    for (uint32_t c = 0; c < en->columns; c++) {
        char name[80];
        snprintf(name, sizeof name, "%s", feature_info(c)->name);
        if (!(fabsf(en->inv_sd[c]) > 0)) {
            constant++;
            assert_non_null(strstr(line, name));
        }
    }
    assert_int_equal(constant, FEAT_DIM - ACTIVE);
}

/* The messages that one promotion put on the topic. */
struct notices {
    struct notice_reader reader;
    int64_t from; /* offsets before it belong to earlier tests */
    uint8_t *model;
    size_t len;
    int models;
};

static void take(void *ctx, const rd_kafka_message_t *m)
{
    struct notices *n = ctx;
    struct bus_message b = {
        .topic = TOPIC_NOTICES, .offset = m->offset, .value = m->payload, .value_len = m->len};
    rd_kafka_headers_t *headers = NULL;
    const uint8_t *model = NULL;
    struct errmsg e = {""};
    if (m->offset < n->from) {
        return;
    }
    assert_int_equal(rd_kafka_message_headers(m, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (size_t i = 0; i < BUS_HEADERS_MAX; i++) {
        struct bus_header *h = &b.headers[b.header_count];
        b.header_count +=
            rd_kafka_header_get_all(headers, i, &h->name, &h->value, &h->len) == 0 ? 1 : 0;
    }
    enum err err = notice_take(&n->reader, "model", &b, &model, &n->len, &e);
    if (err == ERR_END) {
        free(n->model);
        n->model = malloc(n->len);
        assert_non_null(n->model);
        memcpy(n->model, model, n->len);
        n->models++;
    } else if (err != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

/* Exactly one model was sent since `from`: made[i]. */
static void sent_is(int i, int64_t from)
{
    struct notices n = {.from = from};
    cluster_read(&cluster, topic, take, &n);
    assert_int_equal(n.models, 1);
    assert_int_equal(n.len, made[i].bytes.model_len);
    assert_memory_equal(n.model, made[i].bytes.model, n.len);
    notice_done(&n.reader);
    free(n.model);
}

static int64_t end_now(void)
{
    return cluster_end(&cluster, topic, 0);
}

static void test_promote_and_rollback_send_the_model(void **state)
{
    (void)state;
    import_all();
    int64_t from = end_now();
    assert_int_equal(run("promote", made[0].version, "--as ada"), EXIT_OK);
    states_are("champion", "candidate", "candidate");
    sent_is(0, from);
    from = end_now();
    assert_int_equal(run("promote", made[1].version, "--as bob --score 127.0.0.1:1"),
                     EXIT_UNAVAILABLE); /* who knows what it has seen of the cards? */
    states_are("champion", "candidate", "candidate");
    assert_int_equal(run("promote", made[1].version, "--as bob --incomplete tried"), EXIT_OK);
    assert_non_null(strstr(said.out, " is champion in place of "));
    states_are("former", "champion", "candidate");
    sent_is(1, from);
    from = end_now();
    assert_int_equal(run("rollback", "--as", "eve"), EXIT_OK);
    states_are("champion", "withdrawn", "candidate");
    sent_is(0, from);
    assert_int_equal(run("rollback", "--as", "eve"), EXIT_REFUSED);
    assert_non_null(strstr(said.err, "no model was in service before "));
    from = end_now();
    assert_int_equal(run("promote", made[0].version, ""), EXIT_OK); /* once more: sent again */
    sent_is(0, from);
    states_are("champion", "withdrawn", "candidate");
    char *log = database_text(db, "SELECT string_agg(who || ' ' || what, ', ' ORDER BY id) FROM "
                                  "audit WHERE what <> 'model add' AND who <> 'root'");
    assert_non_null(strstr(log,
                           "ada model promote, bob model promote, bob model promote incomplete, "
                           "eve model rollback"));
    free(log);
}

static void test_a_second_rollback_goes_one_further(void **state)
{
    (void)state;
    char back[32];
    char before[32];
    struct errmsg e = {""};
    import_all();
    for (int i = 0; i < MODELS; i++) {
        database_must(registry_promote(db, made[i].version, "ada", before, &e), &e);
        assert_string_equal(before, i > 0 ? made[i - 1].version : "");
    }
    database_must(registry_rollback(db, "ada", back, &e), &e);
    assert_string_equal(back, made[1].version);
    database_must(registry_rollback(db, "ada", back, &e), &e);
    assert_string_equal(back, made[0].version);
    states_are("champion", "withdrawn", "withdrawn");
}

static void test_promote_changes_nothing_where_it_cannot_serve(void **state)
{
    (void)state;
    import_all();
    int64_t from = end_now();
    assert_int_equal(run("promote", made[0].version, ""), EXIT_OK);
    assert_int_equal(run("promote", made[2].version, "--incomplete tried"),
                     EXIT_DATA); /* another schema */
    assert_non_null(strstr(said.err, "was trained on feature schema "));
    assert_int_equal(run("promote", "20000101-nothere", ""), EXIT_NO_INPUT);
    assert_string_equal(said.err, "fraudd model promote: there is no model 20000101-nothere\n");
    assert_int_equal(
        run("promote", made[1].version, "--incomplete tried --topics.notices nothere --timeout 5s"),
        EXIT_NO_INPUT);
    assert_non_null(strstr(said.err, "topic \"nothere\" does not exist at "));
    assert_int_equal(
        run("promote", made[1].version, "--incomplete tried --brokers 127.0.0.1:1 --timeout 1s"),
        EXIT_UNAVAILABLE);
    states_are("champion", "candidate", "candidate");
    sent_is(0, from);
}

static void test_list_shows_all(void **state)
{
    (void)state;
    char line[200];
    import_all();
    assert_int_equal(run("list", "", ""), EXIT_OK);
    for (int i = 0; i < MODELS; i++) {
        snprintf(line, sizeof line,
                 "\n%s\tcandidate\t2026-04-0%dT00:00:00Z\t\t1000\t10\t0.9000\t"
                 "0.5000\t",
                 made[i].version, i + 1);
        assert_non_null(strstr(said.out, line));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_import_and_export_give_the_same_bytes, empty),
        cmocka_unit_test_setup(test_a_model_is_put_in_writing, empty),
        cmocka_unit_test_setup(test_add_refuses_other_bytes_of_the_same_version, empty),
        cmocka_unit_test_setup(test_import_refuses_a_damaged_file_and_anothers_state, empty),
        cmocka_unit_test_setup(test_show_says_the_same_of_file_and_registry, empty),
        cmocka_unit_test_setup(test_show_names_columns_without_variance, empty),
        cmocka_unit_test_setup(test_promote_and_rollback_send_the_model, empty),
        cmocka_unit_test_setup(test_a_second_rollback_goes_one_further, empty),
        cmocka_unit_test_setup(test_promote_changes_nothing_where_it_cannot_serve, empty),
        cmocka_unit_test_setup(test_list_shows_all, empty),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
