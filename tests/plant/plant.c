/* Faults of the program, planted by the linker (--wrap, see the Makefile) into a `fraudd` of its
 * own that tests start: the product has nothing of them.  Messages meet them by a member that no
 * format names:
 *   "plant":"decode"   a failed assertion in whoever decodes it, `score` and `sink`
 *   "plant":"execute"  a bad pointer in whoever decides it
 *   "plant":"follow"   an end in whoever learns of it, the other processes, too; its mcc is 9998 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/pipeline.h"

#define PLANT_MCC 9998

static bool holds(const void *bytes, size_t len, const char *plant)
{
    return len > 0 && memmem(bytes, len, plant, strlen(plant)) != NULL;
}

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */
enum dead_reason __real_decode_tx(struct decoder *d, const char *json, size_t len, const char *key,
                                  size_t key_len, int64_t kafka_timestamp_us, int64_t max_future_us,
                                  struct tx *out, struct tx_strings *out_strings);
enum dead_reason __wrap_decode_tx(struct decoder *d, const char *json, size_t len, const char *key,
                                  size_t key_len, int64_t kafka_timestamp_us, int64_t max_future_us,
                                  struct tx *out, struct tx_strings *out_strings);
enum dead_reason __real_decode_label(struct decoder *d, const char *json, size_t len,
                                     int64_t kafka_timestamp_us, int64_t max_future_us,
                                     struct label *out, struct label_strings *out_strings);
enum dead_reason __wrap_decode_label(struct decoder *d, const char *json, size_t len,
                                     int64_t kafka_timestamp_us, int64_t max_future_us,
                                     struct label *out, struct label_strings *out_strings);
void __real_pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m,
                              const uint8_t *fate, size_t n, int64_t emit_from);
void __wrap_pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m,
                              const uint8_t *fate, size_t n, int64_t emit_from);
void __real_feat_world_follow(struct feat_world *w, const struct tx *t);
void __wrap_feat_world_follow(struct feat_world *w, const struct tx *t);

enum dead_reason __wrap_decode_tx(struct decoder *d, const char *json, size_t len, const char *key,
                                  size_t key_len, int64_t kafka_timestamp_us, int64_t max_future_us,
                                  struct tx *out, struct tx_strings *out_strings)
{
    assert(!holds(json, len, "\"plant\":\"decode\""));
    return __real_decode_tx(d, json, len, key, key_len, kafka_timestamp_us, max_future_us, out,
                            out_strings);
}

enum dead_reason __wrap_decode_label(struct decoder *d, const char *json, size_t len,
                                     int64_t kafka_timestamp_us, int64_t max_future_us,
                                     struct label *out, struct label_strings *out_strings)
{
    assert(!holds(json, len, "\"plant\":\"decode\""));
    return __real_decode_label(d, json, len, kafka_timestamp_us, max_future_us, out, out_strings);
}

/* Before any of a batch is decided: which it was is not seen from what came out. */
void __wrap_pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m,
                              const uint8_t *fate, size_t n, int64_t emit_from)
{
    volatile char *nowhere = NULL;
    for (size_t i = 0; i < n; i++) {
        if (holds(m[i].value, m[i].value_len, "\"plant\":\"execute\"")) {
            *nowhere = 1;
        }
        if (holds(m[i].value, m[i].value_len, "\"plant\":\"follow\"")) {
            abort();
        }
    }
    __real_pipeline_messages(p, l, m, fate, n, emit_from);
}

void __wrap_feat_world_follow(struct feat_world *w, const struct tx *t)
{
    assert(t->mcc != PLANT_MCC);
    __real_feat_world_follow(w, t);
}
/* NOLINTEND(bugprone-reserved-identifier) */
