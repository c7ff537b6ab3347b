#include "daemon/report_page.h"

#include <stdlib.h>

#include "base/file.h"
#include "daemon/chart.h"

static const char STYLE[] =
    ":root{color-scheme:light dark;--paper:#fcfcfa;--ink:#1d2024;--soft:#5f6670;--hair:#dfe1e4;"
    "--a:#1f5c9e;--b:#b9541a;--fraud:#b32840;--legitimate:#4d7f78;--card:#fff}"
    "@media(prefers-color-scheme:dark){:root{--paper:#14161a;--ink:#e7e8ea;--soft:#9aa2ad;"
    "--hair:#2d3239;--a:#6cabf0;--b:#f19a63;--fraud:#f2718a;--legitimate:#74b3aa;--card:#1a1d22}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--paper);color:var(--ink);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    "main{max-width:1860px;margin:0 auto;padding:28px 32px 48px}"
    "h1{font-size:26px;line-height:1.25;font-weight:650;margin:0 0 4px}"
    "h2{font-size:17px;font-weight:650;margin:0}"
    "p{margin:0;color:var(--soft)}header{margin-bottom:22px}header p{max-width:110ch}"
    ".grid{display:grid;gap:20px;margin-bottom:20px;"
    "grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr))}"
    ".v{font-weight:600}.of{display:inline-block;min-width:10.5em;color:var(--soft);"
    "font-size:13px}.wide .v,.wide .of{display:block;line-height:1.35}"
    ".grid.wide{grid-template-columns:repeat(auto-fit,minmax(min(100%,780px),1fr))}"
    "figure,section{margin:0;padding:18px 20px;background:var(--card);border:1px solid var(--hair);"
    "border-radius:8px;overflow-x:auto}"
    "figcaption p,section>p{font-size:13px;line-height:1.45}figcaption p{min-height:3.8em}"
    "figure svg{display:block;width:100%;height:auto;margin-top:6px}"
    "table{border-collapse:collapse;width:100%;margin-top:10px;font-variant-numeric:tabular-nums}"
    "th,td{padding:5px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid "
    "var(--hair);"
    "font-weight:400}th:first-child,td:first-child{text-align:left;padding-left:0}"
    "thead th{color:var(--soft);font-size:13px}tbody tr:last-child>*{border-bottom:0}"
    ".lineage table{font-size:13.5px}.lineage td,.lineage th{padding:4px "
    "10px;text-align:left;white-space:normal;overflow-wrap:anywhere;"
    "vertical-align:top}.lineage tbody th{color:var(--soft);white-space:nowrap}"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:8px 0 0;padding:0;"
    "font-size:13px;color:var(--soft)}.legend .sample{display:inline-block;width:26px;height:12px;"
    "margin:0 7px 0 0;vertical-align:-1px}"
    ".tick,.label{fill:var(--soft);font-size:12.5px}line.grid{stroke:var(--hair)}"
    ".axis{stroke:var(--soft)}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.dashed{stroke-dasharray:6 4}"
    ".a{stroke:var(--a)}.b{stroke:var(--b)}.fraud{stroke:var(--fraud)}"
    ".legitimate{stroke:var(--legitimate)}"
    ".rule{stroke:var(--soft);stroke-width:1.2;stroke-dasharray:2 4}"
    ".ring{fill:var(--card);stroke-width:2.5}.small.ring{fill:none;stroke-width:1.5}"
    ".dot.a{fill:var(--a)}.dot.b{fill:var(--b)}line.bar{stroke-width:1.5;opacity:.55}"
    "rect{stroke:none}rect.fraud{fill:var(--fraud);stroke:none;opacity:.3}"
    "rect.legitimate{fill:var(--legitimate);stroke:none;opacity:.3}"
    "rect.a{fill:var(--a);stroke:none}rect.b{fill:var(--b);stroke:none}rect.pale{opacity:.35}"
    "@media print{body{background:#fff}figure,section{break-inside:avoid}}";

void report_page_begin(FILE *f, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>"
          "<meta http-equiv=\"Content-Security-Policy\" "
          "content=\"default-src 'none'; style-src 'unsafe-inline'\"/><title>",
          f);
    chart_text(f, title);
    fprintf(f, "</title><style>%s</style></head>\n<body><main><header><h1>", STYLE);
    chart_text(f, title);
    fputs("</h1>", f);
}

void report_page_end(FILE *f)
{
    fputs("</main></body></html>\n", f);
}

enum err report_page_write(const char *path,
                           enum err (*render)(const void *ctx, FILE *f, struct errmsg *e),
                           const void *ctx, struct errmsg *e)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL) {
        return err_set(e, ERR_NOMEM, "cannot write %s: no memory", path);
    }
    enum err err = render(ctx, f, e);
    if (fclose(f) != 0 && err == ERR_OK) {
        err = err_set(e, ERR_NOMEM, "cannot write %s: no memory", path);
    }
    if (err == ERR_OK) {
        err = file_write(path, text, len, e);
    }
    free(text);
    return err;
}
