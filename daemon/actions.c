#include "daemon/actions.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cmd.h"
#include "daemon/settings.h"

#define SHOWN_MAX 8

static void print_verb_help(FILE *f, const char *verb, const char *about, const struct action *t)
{
    fprintf(f, "usage: fraudd %s ACTION [OPTIONS]\n\n%s\n\nactions:\n", verb, about);
    for (; t->name != NULL; t++) {
        fprintf(f, "  %-10s %s\n", t->name, t->summary);
    }
    fprintf(f, "\n`fraudd %s ACTION --help` explains an action and gives an example.\n", verb);
}

static void print_action_help(const char *verb, const struct action *a)
{
    struct conf_option shown[SHOWN_MAX + 1];
    size_t n = 0;
    for (const char *const *name = a->settings; *name != NULL && n < SHOWN_MAX; name++) {
        for (const struct conf_option *o = SETTINGS; o->name != NULL; o++) {
            if (strcmp(o->name, *name) == 0) {
                shown[n++] = *o;
            }
        }
    }
    shown[n] = (struct conf_option)ACTION_END;
    const struct conf_option *const tables[] = {a->options, SETTINGS_FILE, shown, NULL};
    printf("usage: fraudd %s %s %s\n\n%s\n\noptions:\n", verb, a->name, a->usage,
           a->about != NULL ? a->about : a->summary);
    conf_print_help(stdout, tables);
    printf("and every other setting of etc/fraudd.conf\n\nexample:\n  %s\n", a->example);
}

static int run_action(const char *verb, const struct action *a, int argc, char **argv)
{
    const struct conf_option *const tables[] = {a->options, SETTINGS_FILE, SETTINGS, NULL};
    struct conf *c = NULL;
    struct errmsg e = {""};
    char name[64];
    int code = EXIT_OK;
    bool usage = false;
    enum err err = settings_load(tables, argc, argv, &c, &usage, &e);
    if (err == ERR_END) {
        print_action_help(verb, a);
        return EXIT_OK;
    }
    snprintf(name, sizeof name, "%s %s", verb, a->name);
    if (err != ERR_OK) {
        return settings_fail(name, err, usage, &e);
    }
    err = a->run(c, &code, &e);
    conf_free(c);
    if (err == ERR_OK && fflush(stdout) != 0) {
        err = err_set(&e, ERR_IO, "cannot write to standard output");
    }
    return err == ERR_OK ? code : cmd_fail(name, err, &e);
}

int actions_run(const char *about, const struct action *table, int argc, char **argv)
{
    if (argc < 2) {
        print_verb_help(stderr, argv[0], about, table);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_verb_help(stdout, argv[0], about, table);
        return EXIT_OK;
    }
    for (const struct action *a = table; a->name != NULL; a++) {
        if (strcmp(argv[1], a->name) == 0) {
            return run_action(argv[0], a, argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "fraudd %s: there is no action \"%s\"; `fraudd %s --help` lists them\n",
            argv[0], argv[1], argv[0]);
    return EXIT_USAGE;
}

enum table_form actions_form(const struct conf *c)
{
    return table_form(conf_bool(c, "json"));
}

enum err actions_who(const struct conf *c, const char **out, struct errmsg *e)
{
    const char *who = conf_text(c, "as");
    if (who == NULL) {
        const struct passwd *p = getpwuid(getuid());
        who = p != NULL ? p->pw_name : NULL;
    }
    if (who == NULL || who[0] == '\0' || strlen(who) > 64) {
        return err_set(e, ERR_INVALID, "--as needs a name of 1 to 64 bytes");
    }
    *out = who;
    return ERR_OK;
}
