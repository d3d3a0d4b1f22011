"""What the switch costs on this machine, part by part and as a whole: ``make bench``.

Everything is measured in one run and interleaved (parts, switch, parts, switch ...), because machines drift. CPU is
the operating system's own count for the process, all its threads together. While the parts are measured the other
core is kept as busy as it is under load: a core whose neighbor works is slower, and the ratio would flatter.
"""
