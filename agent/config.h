/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/context.h"

/* CONFIG_DIR/agent.conf, in systemd's style: section [TPM]: TCTI=, Deadline=, EKRoots=, EventLog=,
 * CounterIndex=; section [Rotation]: RotateEvery=, RandomizedDelaySec=. What was given on the
 * command line or in the environment stays. No file is no error. Return: 0; -EBADMSG with the line;
 * or a fault. */
int config_read(struct context *c, struct error *err) _warn_unused_;
