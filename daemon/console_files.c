#include "daemon/console_files.h"

#include <string.h>

/* The assembler puts the file's bytes into the read-only data; a zero ends them. */
#define EMBED(symbol, file)                                                                        \
    __asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"daemon/console/" file                   \
            "\"\n.byte 0\n.popsection\n");                                                         \
    extern const char symbol[]

EMBED(console_index_html, "index.html");
EMBED(console_style_css, "style.css");
EMBED(console_app_js, "app.js");
EMBED(console_api_js, "api.js");
EMBED(console_dom_js, "dom.js");
EMBED(console_queue_js, "queue.js");
EMBED(console_detail_js, "detail.js");
EMBED(console_picture_js, "picture.js");
EMBED(console_icon_svg, "icon.svg");

#define SCRIPT "text/javascript; charset=utf-8"

const struct console_file *console_file_find(const char *path)
{
    static const struct console_file FILES[] = {
        {"/", "text/html; charset=utf-8", console_index_html},
        {"/style.css", "text/css; charset=utf-8", console_style_css},
        {"/app.js", SCRIPT, console_app_js},
        {"/api.js", SCRIPT, console_api_js},
        {"/dom.js", SCRIPT, console_dom_js},
        {"/queue.js", SCRIPT, console_queue_js},
        {"/detail.js", SCRIPT, console_detail_js},
        {"/picture.js", SCRIPT, console_picture_js},
        {"/icon.svg", "image/svg+xml", console_icon_svg},
    };
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        if (strcmp(path, FILES[i].path) == 0) {
            return &FILES[i];
        }
    }
    return NULL;
}
