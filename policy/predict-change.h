/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/predict.h"

/* What the files of predict.h share. */

/* Notes a change of one event, or what comes behind it; @digest is NULL for PREDICT_DROP. A second
 * one of the same takes its place. Return: PREDICT_OK; or PREDICT_UNKNOWN: there is no room. */
int predict_change(struct prediction *p, const struct event *e, enum predict_how how,
                   const uint8_t *digest, struct predict_reason *why) _warn_unused_;

/* Return: PREDICT_UNKNOWN. */
int predict_unknown(struct predict_reason *why, const char *fmt, ...) _printf_(2, 3);
