"""What each command does before anything else is loaded: it tells its version, and Ctrl-C ends it in one
line, however early it comes. In any other process nothing happens here."""
import os, signal, sys
from contextlib import suppress
from .. import __version__

_command = os.path.basename(sys.argv[0] if sys.argv else '')


def speaks():
    "Does this process speak for all that `torchrun` started?"
    return 'TORCHELASTIC_RUN_ID' not in os.environ or os.environ.get('RANK')=='0'


def end_at_once(*_):
    "Ctrl-C, while nothing is under way that would have to be tidied up"
    if speaks():
        with suppress(OSError): os.write(2, f'{_command}: interrupted, nothing was saved\n'.encode())
    os._exit(130)


if _command.startswith('mlc_'):
    with suppress(ValueError): # not in the main thread
        is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_usual: signal.signal(signal.SIGINT, end_at_once)
    if sys.argv[1:]==['--version']:
        print(f'mlc_course {__version__}')
        sys.exit()
