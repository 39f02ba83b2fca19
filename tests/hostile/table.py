# SPDX-License-Identifier: LGPL-2.1-or-later
"""How cases are written down: functions with @case, and lines of values for one member each."""

REJECT, SAME, MAY, DOS = "reject", "same", "may", "deny-dos"


class Gone:
    """Stands for a member that's removed."""


GONE = Gone()


def spelt(value):
    if value is GONE:
        return "(removed)"
    return "another" if callable(value) else ascii(value)[:60]


class Table:
    def __init__(self, kind):
        self.kind = kind
        self.list = []

    def case(self, name, expect, by, words):
        def keep(alter):
            self.list.append((name, self.kind, expect, by, words, alter))
            return alter

        return keep

    def member(self, start, lines):
        """@start: the object of a case that each line's path begins at. A line: name, path with
        dots, value, by what it is refused; or SAME, MAY."""
        for name, path, value, by in lines:
            expect = by if by in (SAME, MAY) else REJECT
            words = "%s = %s" % (path, spelt(value))
            by = "-" if expect in (SAME, MAY) else by
            self.case(name, expect, by, words)(setter(start, path, value))


def setter(start, path, value):
    def alter(case):
        o = start(case)
        *way, last = path.split(".")
        for part in way:
            o = o[int(part)] if isinstance(o, list) else o[part]
        if value is GONE:
            del o[last]
        else:
            o[last] = value(o.get(last)) if callable(value) else value

    return alter
