"Wheel and sdist, each installed into an empty environment away from the clone, as a reader would"
import json, os, re, shutil, subprocess, sys
import pytest
import mlc_course
from conftest import ROOT
from mlc_course.ui.course import course_files

COMMANDS = re.findall(r'^ +(\w+) = mlc_course', (ROOT/'settings.ini').read_text(), re.M)


@pytest.fixture(scope='module')
def dist(tmp_path_factory):
    "Folder outside the clone with the wheel and the sdist, both built from the clone's files"
    folder = tmp_path_factory.mktemp('dist')
    source = folder/'source'
    left_out = shutil.ignore_patterns('.git', '.venv*', '_site', 'build', 'dist', '*.egg-info')
    shutil.copytree(ROOT, source, ignore=left_out)
    subprocess.run([sys.executable, '-m', 'build', '-o', folder, source], check=True, capture_output=True)
    shutil.rmtree(source)
    return folder


@pytest.fixture(scope='module', params=['*.whl', '*.tar.gz'], ids=['wheel', 'sdist'])
def home(dist, request, tmp_path_factory):
    "A folder outside the clone; its environment `env` holds nothing but the package and what that requires"
    home = tmp_path_factory.mktemp('away')
    subprocess.run([sys.executable, '-m', 'venv', home/'env'], check=True)
    built, = dist.glob(request.param)
    pip = [home/'env/bin/python', '-m', 'pip', 'install', '-q', '--no-compile', built]
    subprocess.run(pip, check=True)
    yield home
    shutil.rmtree(home, ignore_errors=True) # 6 GB


WITHOUT = '''import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name=='fasthtml' else find(name, *args)
from mlc_course.ui.app import mlc_app
mlc_app('model')'''


def run(home, *cmd, **kw):
    env = {k:v for k,v in os.environ.items() if not k.startswith('PYTHON')}
    kw = dict(dict(check=True), **kw)
    program,*args = cmd
    line = [home/'env/bin'/program, *map(str, args)]
    return subprocess.run(line, cwd=home, env=env, capture_output=True, text=True, **kw)


def test_import_and_commands(home):
    res = run(home, 'python', '-c', 'import mlc_course; print(mlc_course.__version__, mlc_course.__file__)')
    version,path = res.stdout.split()
    assert version==mlc_course.__version__
    assert str(home) in path
    assert len(COMMANDS)>=4
    for cmd in COMMANDS: assert 'usage:' in run(home, cmd, '--help').stdout


def test_notebooks_travel(home):
    def files(root): return [p.relative_to(root).as_posix() for p in course_files(root)]
    names = files(ROOT/'nbs')
    run(home, 'mlc_notebooks', 'course')
    assert files(home/'course')==names
    modules = [p.stem for p in (ROOT/'mlc_course/exercises').glob('[a-z]*.py')]
    run(home, 'python', '-c', ';'.join(f'import mlc_course.exercises.{o}' for o in modules))
    mine = home/'course'/names[0]
    mine.write_text('mine')
    res = run(home, 'mlc_notebooks', 'course')
    assert mine.read_text()=='mine'
    assert f'kept your {names[0]}' in res.stdout
    assert run(home, 'mlc_notebooks', mine, check=False).returncode==2


def test_first_cell_names_another_version(home):
    "The first cell is silent for its own version, and says which one it was written for under another"
    cell = ''.join(json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))['cells'][0]['source'])
    assert run(home, 'python', '-c', cell).stdout==''
    other = f"import mlc_course; mlc_course.__version__ = '99.0'\n{cell}"
    said = run(home, 'python', '-c', other).stdout
    assert f'written for mlc_course {mlc_course.__version__}, but 99.0' in said


def test_train_and_predict(home):
    "Drawn portraits in, a model folder out, answers for two pictures: the whole way without the clone"
    draw = '''if 1:
        from pathlib import Path
        from mlc_course.draw.scenes import draw_portrait
        out = Path('photos'); out.mkdir()
        for breed in 'Bombay','samoyed':
            for i in range(1, 13): draw_portrait(breed, i, 64)[0].save(out/f'{breed}_{i}.jpg')'''
    run(home, 'python', '-c', draw)
    run(home, 'mlc_train', 'photos', '--out', 'model', '--arch', 'small_cnn', '--size', 64, '--epochs', 1)
    files = 'photos/Bombay_1.jpg','photos/samoyed_2.jpg'
    lines = run(home, 'mlc_predict', 'model', *files, '--json').stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [set(a) for a in answers]==[{'path','labels','probs','known','score'}]*2
    assert all(set(a['probs'])=={'Bombay','samoyed'} for a in answers)
    # What needs an extra says which, where it is not installed
    res = run(home, 'python', '-c', WITHOUT, check=False) # fastai may have brought it along
    assert res.returncode==2
    assert res.stderr=='mlc_app: the app needs FastHTML: pip install mlc_course[app]\n'
