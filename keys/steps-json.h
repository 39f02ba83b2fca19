/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/steps.h"

/* The steps of a policy as the list in a token. From hostile input. Return: 0; -EBADMSG. */
int steps_parse(const struct json *list, struct steps *ret, struct error *err) _warn_unused_;
bool steps_print(const struct steps *steps, struct json *list) _warn_unused_;
