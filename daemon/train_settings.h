/* Sizes of the network and settings of training by name, for experiments and the quality table:
 * `fraudd train .. --net.layers 1`.  What is not given keeps train_conf_default's value. */
#ifndef FD_DAEMON_TRAIN_SETTINGS_H
#define FD_DAEMON_TRAIN_SETTINGS_H

#include "base/conf.h"
#include "model/train.h"

extern const struct conf_option TRAIN_SETTINGS[];

/* Puts what was given into *out; train_run checks sizes and bounds. */
void train_settings_apply(const struct conf *c, struct train_conf *out);

#endif
