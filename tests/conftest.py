"What several tests need: drawn photos, models, weights at hand, commands and their errors"
import hashlib, json, os, struct, subprocess, sys, zlib
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent/'shared'
BIN = Path(sys.executable).parent
os.environ.setdefault('OMP_NUM_THREADS', '1')

# What the README of shared/data/hostile calls a clear error, as messages.py has it
FAULTS = dict(
    empty='zero_byte.jpg',
    damaged='truncated_half.jpg truncated_half.png truncated_header.jpg bad_crc_idat.png',
    no_picture='text.jpg text.heic error_page.jpg bad_crc_ihdr.png',
    too_large='bomb_30000x30000.png bomb_12000x12000.png')
HOSTILE = {file: name for name,files in FAULTS.items() for file in files.split()}


# --- files

def draw(folder, kinds, n=12, size=48):
    "`n` portraits of each kind, as `pug_3.jpg`; returns the folder, which is made if need be"
    from mlc_course.draw.scenes import draw_portrait
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        for i in range(n): draw_portrait(kind, i, size)[0].save(folder/f'{kind}_{i}.jpg')
    return folder


def png(side, color=2, depth=8, n_rows=None):
    "A black PNG, packed to next to nothing; with less than all its rows it is a broken one"
    def number(n): return struct.pack('>I', n)
    def chunk(kind, data): return number(len(data))+kind+data+number(zlib.crc32(kind+data))
    n_channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    row,pack = bytes(1+n_channels*depth*side//8),zlib.compressobj(1)
    rows = [pack.compress(row) for _ in range(side if n_rows is None else n_rows)]
    head = struct.pack('>IIBBBBB', side, side, depth, color, 0, 0, 0)
    data = b''.join([*rows, pack.flush()])
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', head)+chunk(b'IDAT', data)+chunk(b'IEND', b'')


def names(folder): return sorted(o.name for o in folder.iterdir())


def tree(folder):
    "Checksum of all names and bytes below a folder"
    h = hashlib.sha256()
    for o in sorted(folder.rglob('*')):
        h.update(f'{o.relative_to(folder)}:'.encode())
        if o.is_file(): h.update(o.read_bytes())
    return h.hexdigest()


def config_of(folder): return json.loads((folder/'config.json').read_text(encoding='utf-8'))


# --- commands

def call(cmd, *args, **kwargs):
    "A command of the package, in a process of its own"
    kwargs = dict(capture_output=True, text=True, timeout=300) | kwargs
    return subprocess.run([BIN/cmd, *map(str, args)], **kwargs)


def python(code, *args, **kwargs):
    "The same for lines of Python"
    return call(sys.executable, '-c', code, *args, **kwargs)


def refused(res, *words, lines=1):
    "Exit code 2, nothing on stdout, and as many lines on stderr as said, with all `words`"
    assert res.returncode==2, res
    assert res.stdout==''
    assert res.stderr.count('\n')==lines, res.stderr
    assert 'Traceback' not in res.stderr
    for o in words: assert o in res.stderr


def json_rows(res): return [json.loads(o) for o in res.stdout.splitlines()]


# --- models

def untrained(
    arch='small_cnn', # A name that `find_arch` knows
    vocab=('cat','dog'), # Labels
    rule='joint_energy+knn', # Name of the score
    n_refs=20, # References
    facts=(),  # Other values for the fields of its configuration
    **decision, # The same for those of its decision
):
    "A classifier with random weights, as good as any for reading, writing and comparing"
    import math, torch
    from mlc_course.classifier import Classifier
    from mlc_course.engine.decision import Decision
    from mlc_course.engine.networks import build_model, find_arch
    torch.manual_seed(0)
    model, parts, n = build_model(arch, len(vocab)).eval(), rule.split('+'), len(vocab)
    rule = dict(name=rule, mean={o: .1+i for i,o in enumerate(parts)}, std=dict.fromkeys(parts, .5))
    table = *(2-i/10 for i in range(99)), -math.inf
    usual = dict(k=5, thresh=-3., threshs=(.4,)*n, keep_table=table)
    refs = torch.randint(-127, 128, (n_refs,model[1][-1].in_features), dtype=torch.int8)
    config = dict(arch=arch, size=64, **find_arch(arch).facts(False), rare=[],
        versions={}, training={}, metrics={}, rehearsal=None) | dict(facts)
    return Classifier(model, Decision(tuple(vocab), .95, rule, **usual | decision), refs, config)


@pytest.fixture(scope='session')
def blank():
    "An untrained classifier; whoever changes one makes one of its own"
    return untrained()


@pytest.fixture(scope='session')
def pets(tmp_path_factory):
    "24 drawn portraits of two breeds, named as in PETS; whoever changes the folder takes a copy"
    return draw(tmp_path_factory.mktemp('photos')/'pets', ['Siamese','pug'])


@pytest.fixture(scope='session')
def strangers(tmp_path_factory):
    "12 pictures of neither"
    return draw(tmp_path_factory.mktemp('strangers'), ['car','ball'], 6)


@pytest.fixture(scope='session')
def trained(pets, strangers):
    "A small network that tells Siamese from pugs"
    from fastcore.basics import noop
    from mlc_course.classifier import Classifier
    return Classifier.train(pets, 'small_cnn', strangers, size=48, epochs=2, say=noop)


@pytest.fixture(scope='session')
def trained_folder(trained, tmp_path_factory):
    return trained.save(tmp_path_factory.mktemp('models')/'trained')


# --- surroundings

@pytest.fixture
def shared():
    "Folder with real photos and pretrained weights, kept beside the checkout"
    if not (SHARED/'data').is_dir(): pytest.skip('no folder ../shared with real photos beside the checkout')
    return SHARED


@pytest.fixture
def says(record_property):
    "`says(line)`: a line for the summary at the end, also from a worker of pytest-xdist"
    return lambda line: record_property('says', line)


def pytest_terminal_summary(terminalreporter):
    stats = terminalreporter.stats
    reports = [o for kind in ('passed', 'failed') for o in stats.get(kind, []) if o.when=='call']
    for o in reports:
        for name,line in o.user_properties:
            if name=='says': terminalreporter.write_line(line)
