/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What every cmocka test needs, in the order in which cmocka wants it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
