#include "tests/support/kept_schemas.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "daemon/avro.h"
#include "daemon/proto.h"
#include "daemon/settings.h"

#define URL "http://127.0.0.1:1" /* nobody answers there */

static const struct conf_option *const TABLES[] = {SETTINGS, NULL};

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "no schema is kept: %s\n", what);
        abort();
    }
}

/* What schemas.c writes when a registry has answered. */
static void write_answer(enum wire_format f, const char *path)
{
    struct errmsg e = {""};
    const bool avro = f == FORMAT_AVRO;
    json_t *answer =
        json_pack("{s:s,s:s}", "schema", avro ? avro_schema_text() : proto_schema_text(),
                  "schemaType", avro ? "AVRO" : "PROTOBUF");
    char *text = json_dumps(answer, JSON_COMPACT);
    must(text != NULL && file_write(path, text, strlen(text), &e) == ERR_OK, e.text);
    free(text);
    json_decref(answer);
}

struct schemas *kept_schemas(enum wire_format f)
{
    char dir[] = "/tmp/fraudd-kept-XXXXXX";
    char folder[96];
    char file[128];
    const char header[SCHEMAS_HEADER] = {0, 0, 0, 0, KEPT_SCHEMA};
    struct schemas *s = NULL;
    struct conf *c = NULL;
    struct errmsg e = {""};
    must(mkdtemp(dir) != NULL, dir);
    snprintf(folder, sizeof folder, "%s/schemas-%016" PRIx64, dir, hash_bytes(URL, strlen(URL), 0));
    snprintf(file, sizeof file, "%s/%d.json", folder, KEPT_SCHEMA);
    must(mkdir(folder, 0700) == 0, folder);
    write_answer(f, file);
    must(conf_create(TABLES, "kafka.", &c, &e) == ERR_OK &&
             conf_set(c, "transactions.format", schemas_format_name(f), &e) == ERR_OK &&
             conf_set(c, "registry.url", URL, &e) == ERR_OK &&
             conf_set(c, "state.dir", dir, &e) == ERR_OK &&
             schemas_create(c, progress_now_us, &s, &e) == ERR_OK,
         e.text);
    must(schemas_ready(s, header, sizeof header, false), "it is asked for");
    conf_free(c);
    (void)unlink(file);
    (void)rmdir(folder);
    (void)rmdir(dir);
    return s;
}
