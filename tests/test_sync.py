"What no page can show of itself: the package is what the notebooks export, and the notebooks are fit to be read"
import csv, json, re, shutil, subprocess, sys
from pathlib import Path
import pytest
import mlc_course
from conftest import ROOT

BIN = Path(sys.executable).parent
NBS = ROOT/'nbs'
NOTEBOOKS = [*sorted(NBS.glob('*.ipynb')), *sorted(NBS.glob('solutions/*.ipynb'))]
by_name = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.relative_to(NBS).with_suffix('').as_posix())
load = lambda path: json.loads(path.read_text(encoding='utf-8'))
text = lambda cell: ''.join(cell['source'])


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "The project's sources, exported and cleaned in another folder"
    root = tmp_path_factory.mktemp('copy')
    for name in 'nbs','mlc_course': shutil.copytree(ROOT/name, root/name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for name in 'pyproject.toml','settings.ini','README.md': shutil.copy(ROOT/name, root)
    for cmd in 'nbdev-export','nbdev-clean': subprocess.run([BIN/cmd], cwd=root, check=True)
    return root


def test_export_in_sync(copy):
    files = lambda root: {p.relative_to(root): p.read_text(encoding='utf-8') for p in (root/'mlc_course').rglob('*.py')}
    assert files(copy)==files(ROOT), 'run `make export`'


@by_name
def test_notebook_clean(copy, path):
    assert (copy/path.relative_to(ROOT)).read_bytes()==path.read_bytes(), 'run `make export`'


@by_name
def test_written_for(path):
    "The first cell names the version of the package, and it is this one"
    assert f"written_for('{mlc_course.__version__}')" in text(load(path)['cells'][0])


@by_name
def test_stored_outputs(path):
    "Outputs are stored, small, and free of errors, warnings and paths of the machine they were made on"
    code = [c for c in load(path)['cells'] if c['cell_type']=='code']
    outputs = [o for c in code for o in c['outputs']]
    shown = re.sub(r'"image/png": "[^"]*"', '', json.dumps(outputs))
    assert path.stat().st_size<1.5e6
    assert outputs, 'no stored output at all'
    assert not [o['ename'] for o in outputs if o['output_type']=='error']
    assert not re.search(r'\w*Warning\b', shown)
    assert 'widget-view' not in shown, 'run `make export`: a still picture belongs in the place of an explorer'
    assert not re.findall(r'(?<![\w.])/(?:work|root|home|tmp|Users|usr)/[\w./-]*', shown)


@by_name
def test_links_between_chapters(path):
    words = '\n'.join(text(c) for c in load(path)['cells'] if c['cell_type']=='markdown')
    links = re.findall(r'\]\(([\w/.]+\.(?:ipynb|md))', words)
    assert not [l for l in links if not (path.parent/l).exists()]


def test_readme_figures():
    "What the README says of silence stands in chapter 07's stored table"
    with open(ROOT/'nbs/results/07_unknown_real.csv') as f: rows = [r for r in csv.DictReader(f) if r['method']=='the package']
    share = lambda col: f"{sum(float(r[col]) for r in rows)/len(rows):.0%}".replace('%', ' %')
    text = ' '.join((ROOT/'README.md').read_text(encoding='utf-8').split())
    assert (f"on photos of unknown things {share('far silent')} get no name, on breeds never trained on {share('near silent')}, "
            f"while {share('known answered')} of the known are answered") in text


def test_index_lists_every_chapter():
    index = '\n'.join(map(text, load(ROOT/'nbs'/'index.ipynb')['cells']))
    assert not [p.name for p in NBS.glob('*.ipynb') if p.stem!='index' and p.name not in index]


def test_imports_point_to_earlier_modules():
    order = 'scenes data atlas convolution sigmoid loss metrics cam unknown trust counting rare photos machines transfer classifier web widgets cli app course'.split()
    for path in (ROOT/'mlc_course').glob('[a-z]*.py'):
        used = re.findall(r'^\s*(?:from|import) (?:mlc_course)?\.(\w+)', path.read_text(encoding='utf-8'), re.M)
        assert not [m for m in used if order.index(m)>=order.index(path.stem)], path.name


def test_import_is_light():
    "`import mlc_course` loads nothing heavy"
    code = "import sys, mlc_course; sys.exit(bool({'torch','fastai','numpy','matplotlib'} & set(sys.modules)))"
    subprocess.run([sys.executable, '-c', code], check=True)
