"""One file a command of the command line: NAME, HELP, add_options(parser) and run(options) -> exit code."""

from . import apply, describe, evaluate, methods, models, register, report, train, worker

COMMANDS = (methods, describe, register, apply, evaluate, report, train, models, worker)
