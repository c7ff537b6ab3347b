/* Verbs with actions, without a server: help with an example for each, and clear refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/cmd.h"
#include "tests/support/capture.h"

static struct capture said;

static int done(void **state)
{
    (void)state;
    capture_done(&said);
    return 0;
}

/* Exit code and the whole of standard error. */
static void refuses(int (*verb)(int argc, char **argv), const char *line, int code,
                    const char *text)
{
    assert_int_equal(capture_run(&said, verb, line), code);
    assert_string_equal(said.err, text);
    assert_string_equal(said.out, "");
}

static void helps(int (*verb)(int argc, char **argv), const char *name, const char *const *actions)
{
    char line[80];
    char example[80];
    snprintf(line, sizeof line, "%s --help", name);
    assert_int_equal(capture_run(&said, verb, line), EXIT_OK);
    for (const char *const *a = actions; *a != NULL; a++) {
        assert_non_null(strstr(said.out, *a));
    }
    for (const char *const *a = actions; *a != NULL; a++) {
        snprintf(line, sizeof line, "%s %s --help", name, *a);
        snprintf(example, sizeof example, "example:\n  fraudd %s %s", name, *a);
        assert_int_equal(capture_run(&said, verb, line), EXIT_OK);
        assert_non_null(strstr(said.out, example));
        assert_non_null(strstr(said.out, "--database"));
    }
}

static void test_actions_help_has_an_example_each(void **state)
{
    (void)state;
    static const char *const ALERTS[] = {"list", "show", "claim", "resolve", "release", NULL};
    static const char *const LABELS[] = {"import", "list", NULL};
    helps(cmd_alerts, "alerts", ALERTS);
    static const char *const MODEL[] = {"list",     "show",   "import",   "export",   "promote",
                                        "rollback", "shadow", "unshadow", "document", NULL};
    static const char *const LISTS[] = {"add", "remove", "import", NULL};
    helps(cmd_labels, "labels", LABELS);
    helps(cmd_lists, "lists", LISTS);
    helps(cmd_model, "model", MODEL);
}

static void test_actions_refuse_what_is_not_there(void **state)
{
    (void)state;
    refuses(cmd_alerts, "alerts frob", EXIT_USAGE,
            "fraudd alerts: there is no action \"frob\"; `fraudd alerts --help` lists them\n");
    assert_int_equal(capture_run(&said, cmd_alerts, "alerts"), EXIT_USAGE);
    assert_non_null(strstr(said.err, "actions:"));
    refuses(cmd_alerts, "alerts list --limits 3", EXIT_USAGE,
            "fraudd alerts list: command line: there is no setting \"limits\"; do you mean "
            "\"limit\"?\n");
}

static void test_alerts_refuse_bad_options(void **state)
{
    (void)state;
    refuses(cmd_alerts, "alerts list --state shut", EXIT_USAGE,
            "fraudd alerts list: --state = \"shut\" is not allowed; give open, claimed, snoozed, "
            "resolved "
            "or all\n");
    refuses(cmd_alerts, "alerts show", EXIT_USAGE,
            "fraudd alerts show: --id is needed (the alert, as `fraudd alerts list` names it); "
            "--help shows an example\n");
    refuses(cmd_alerts, "alerts resolve log/0/1 maybe", EXIT_USAGE,
            "fraudd alerts resolve: --verdict = \"maybe\" is not allowed; give fraud, legitimate "
            "or unsure\n");
    refuses(cmd_alerts, "alerts claim --as ''", EXIT_USAGE,
            "fraudd alerts claim: --as needs a name of 1 to 64 bytes\n");
    refuses(
        cmd_alerts, "alerts claim --lease 15", EXIT_USAGE,
        "fraudd alerts claim: command line: lease = \"15\" is not allowed; give a duration such "
        "as 250ms, 5s, 10m, 36h or 7d, from 1 s to 604800 s\n");
}

static void test_labels_refuse_bad_options(void **state)
{
    (void)state;
    refuses(cmd_labels, "labels import", EXIT_USAGE,
            "fraudd labels import: --input is needed (verdicts in CSV, plain or .gz, .xz, .zst); "
            "--help shows an example\n");
    refuses(cmd_labels, "labels import x.csv --source ''", EXIT_USAGE,
            "fraudd labels import: --source needs 1 to 128 bytes\n");
}

static void test_model_refuses_bad_options(void **state)
{
    (void)state;
    refuses(cmd_model, "model show /nowhere/model", EXIT_NO_INPUT,
            "fraudd model show: cannot open /nowhere/model: No such file or directory; "
            "check the path\n");
    refuses(cmd_model, "model export v1", EXIT_USAGE,
            "fraudd model export: --out is needed (file to write; the training state goes to "
            "FILE.state); --help shows an example\n");
    refuses(cmd_model, "model rollback now", EXIT_USAGE,
            "fraudd model rollback: command line: \"now\" is not expected; --help shows the "
            "usage\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actions_help_has_an_example_each),
        cmocka_unit_test(test_actions_refuse_what_is_not_there),
        cmocka_unit_test(test_alerts_refuse_bad_options),
        cmocka_unit_test(test_labels_refuse_bad_options),
        cmocka_unit_test(test_model_refuses_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
