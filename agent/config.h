/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/context.h"

/* CONFIG_DIR/agent.conf, in systemd's style: section [TPM]: TCTI=, Deadline=, EKRoots=, EventLog=,
 * CounterIndex=; [Archive]: RetainVersions=, RetainFor=, Mirror=; [Rotation]: RotateEvery=,
 * RandomizedDelaySec=; [Boot]: Disk=, Timeout=, Mirror=. What was given on the command line or in
 * the environment stays. No file is no error. Return: 0; -EBADMSG with the line; or a fault. */
int config_read(struct context *c, struct error *err) _warn_unused_;

/* A file of settings, for ini_parse_string(), which would leave out what is behind a NUL, and take
 * the rest of a long line for a line of its own. Return: 0; -ENOENT, -ENOTDIR; -EBADMSG with the
 * path and the line; or another fault. */
int config_text(const char *path, size_t max, char **ret, struct error *err) _warn_unused_;
