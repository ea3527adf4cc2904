"""Many photos on a cluster of this one machine: a killed run is resumed, a killed process has its photos
done again, and all is as one process says"""
import os, signal, subprocess, time
import pytest
from conftest import BIN, call, names, refused, untrained
from mlc_course.engine.core import InputError
from mlc_course.engine.parts import PartFolder, plan_of
from mlc_course.ui import cli, many

pytest.importorskip('pyarrow', reason='not installed: it comes with the extra `dev`')
N_PARTS = 12
RAY = '--ray', '--actors', 2, '--parquet', 'answers'


@pytest.fixture(scope='module')
def work(pets, tmp_path_factory):
    "A model, and a list of photos, of which the addresses and the bad ones are spread"
    folder = tmp_path_factory.mktemp('work')
    untrained(facts=dict(size=48)).save(folder/'model')
    (folder/'bad one.jpg').write_text('hello')
    files = sorted(pets.iterdir())
    some = [*map(str, files[:20]), *(o.as_uri() for o in files[20:]), 'bad one.jpg', 'file:///none.jpg']
    asked = (some*1000)[:512*N_PARTS-100]
    (folder/'list.txt').write_text('\n'.join(asked))
    return folder, asked


def started(folder):
    "The command, with the list on stdin"
    args = [BIN/'mlc_predict', 'model', '-', *map(str, RAY)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with open(folder/'list.txt') as f: return subprocess.Popen(args, cwd=folder, stdin=f, **pipes)


def parts_in(folder): return {o.name for o in folder.glob('part-*')}


def wait_for(fn, process):
    "What `fn` gives, once it is something; `process` must not end before"
    end = time.time()+120
    while time.time()<end:
        if res := fn(): return res
        assert process.poll() is None, process.communicate()
        time.sleep(.01)
    raise AssertionError('it took too long')


def is_worker(process):
    "Is it one that answers?"
    return 'MapWorker' in ' '.join(process.cmdline())


def test_killed_resumed_and_equal(work):
    "kill -9 of the whole run, then of a process of the next one: no photo is lost, none is done twice"
    pytest.importorskip('ray', reason='not installed: it comes with the extra `dev`')
    psutil = pytest.importorskip('psutil', reason='not installed: it comes with the extra `dev`')
    folder,asked = work
    answers = folder/'answers'

    first = started(folder)
    wait_for(lambda: parts_in(answers), first)
    below = psutil.Process(first.pid).children(recursive=True)
    workers = list(filter(is_worker, below))
    assert len(workers)==2
    first.kill()
    first.communicate()
    psutil.wait_procs(workers, timeout=60)
    for o in filter(psutil.Process.is_running, below): o.kill() # two agents of Ray stay behind
    kept = {o: (answers/o).stat().st_mtime_ns for o in parts_in(answers)}
    assert 0<len(kept)<N_PARTS

    second = started(folder)
    wait_for(lambda: parts_in(answers)-set(kept), second)
    workers = list(filter(is_worker, psutil.Process(second.pid).children(recursive=True)))
    assert len(workers)==2
    assert len(parts_in(answers))<N_PARTS
    os.kill(workers[0].pid, signal.SIGKILL)
    out,err = second.communicate(timeout=120)
    said = [o for o in err.splitlines() if not o.startswith('predicting: ')]
    n_bad = sum('bad one' in o or 'none.jpg' in o for o in asked)
    assert second.returncode==1
    assert said==[f'mlc_predict: {n_bad} of {len(asked)} could not be read']
    assert out.startswith(f'{len(asked)} answers are in answers: {N_PARTS} parts, {len(kept)} of them from ')
    assert out.endswith(f'{n_bad} could not be read\n')
    assert names(answers)==['_plan.json', *(f'part-{i:05}.parquet' for i in range(N_PARTS))]
    assert kept=={o: (answers/o).stat().st_mtime_ns for o in kept}

    pd = pytest.importorskip('pandas')
    pd.testing.assert_frame_equal(pd.read_parquet(answers), one_process(folder, asked), check_exact=True)

    changed = (answers/'part-00003.parquet').read_bytes()
    res = call('mlc_predict', 'model', '-', *RAY, cwd=folder, input='\n'.join(asked[1:]))
    refused(res, 'answers of other photos', 'name a new folder')
    assert (answers/'part-00003.parquet').read_bytes()==changed


def one_process(folder, asked):
    "The table that one process writes; addresses as it reads them"
    import pandas as pd
    from mlc_course.classifier import Classifier
    from mlc_course.engine.addresses import RemotePicture, is_address
    from mlc_course.engine.answer_files import parquet_answers
    clf = Classifier.load(folder/'model')
    pictures = [RemotePicture(o) if is_address(o) else o for o in asked]
    before = os.getcwd()
    os.chdir(folder)
    with parquet_answers('one.parquet', clf.vocab) as add:
        for i in range(0, len(asked), 512): add(clf.predict(pictures[i:i+512]))
    os.chdir(before)
    return pd.read_parquet(folder/'one.parquet')


def test_nobody_at_the_address(work, pets):
    "One line, soon; Ray itself would wait"
    pytest.importorskip('ray', reason='not installed: it comes with the extra `dev`')
    env = dict(os.environ, RAY_ADDRESS='127.0.0.1:9')
    res = call('mlc_predict', work[0]/'model', pets, '--ray', '--parquet', 'b', cwd=work[0], env=env)
    refused(res, 'no Ray answers at 127.0.0.1:9', 'unset RAY_ADDRESS')


# --- what needs no Ray

@pytest.mark.parametrize('args,words', [
    (['--ray'], ['--parquet FOLDER']),
    (['--ray','--parquet','a','--csv','a.csv'], ['--csv','leave out']),
    (['--ray','--parquet','a','--shard','1/2'], ['--shard']),
    (['--ray','--parquet','a','--actors','0'], ['actors 0']),
    (['--actors','2'], ['add --ray'])])
def test_refused(work, pets, args, words):
    refused(call('mlc_predict', work[0]/'model', pets, *args, cwd=work[0]), *words)
    assert not (work[0]/'a').exists()


def test_without_ray(work, pets, tmp_path, monkeypatch, capsys):
    "One line that says what to install, and nothing is written"
    monkeypatch.setattr(many, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit) as e:
        cli.mlc_predict(work[0]/'model', [str(pets)], ray=True, parquet=str(tmp_path/'a'))
    assert e.value.code==2
    assert 'pip install mlc_course[ray]' in capsys.readouterr().err
    assert names(tmp_path)==[]


@pytest.mark.parametrize('nodes,actors,device,crew', [
    ([dict(CPU=2.)], None, None, (1,2,0)),
    ([dict(CPU=2.)], 2, None, (2,1,0)),
    ([dict(CPU=2.)], 8, None, (8,.25,0)),
    ([dict(CPU=96.)], None, None, (6,16,0)),
    ([dict(CPU=8.), dict(CPU=20.)], None, None, (3,8,0)),
    ([dict(CPU=8.), dict(CPU=20.)], 2, None, (2,10,0)),
    ([dict(CPU=16., GPU=2.), dict(CPU=64.)], None, None, (2,8,1)),
    ([dict(CPU=16., GPU=2.), dict(CPU=64.)], 9, 'cuda', (2,8,1)),
    ([dict(CPU=16., GPU=2.), dict(CPU=64.)], None, 'cpu', (5,16,0))])
def test_crew(nodes, actors, device, crew):
    "As many processes as asked for, which all find a place"
    got = many.crew_of(nodes, actors, device)
    assert got==crew
    assert sum(o['CPU']//got.cpus for o in nodes)>=got.n


# --- a store that is no disk

def answer(i): return dict(path=f'{i}.jpg', labels=['cat'], probs=dict(cat=.75), known=True, score=.5)


ANSWERS = [answer(i) for i in range(10)]
PLAN = plan_of({'config.json': b'{}'}, [o['path'] for o in ANSWERS], 4)


@pytest.fixture
def store(monkeypatch):
    "Addresses lead into memory"
    fs = pytest.importorskip('pyarrow.fs')
    from mlc_course.engine import addresses, parts
    files = fs._MockFileSystem()
    def located(address): return files,address.partition('://')[2].strip('/')
    for module in addresses,parts: monkeypatch.setattr(module, 'located', located)
    return files


def test_parts_at_an_address(store):
    "Whole files only, and the plan is heeded"
    folder = PartFolder('s3://bucket/answers', PLAN)
    with pytest.raises(InputError, match='share'): folder.check()
    store.create_dir('bucket/answers')
    folder.begin()
    folder.check()
    for i in (2,0): folder.write(i, folder.part_of(ANSWERS, i), ['cat'])
    again = PartFolder('s3://bucket/answers', PLAN)
    again.begin()
    assert again.done()=={0: (4,0), 2: (2,0)}
    with pytest.raises(InputError, match='other photos'):
        PartFolder('s3://bucket/answers', PLAN._replace(names='x')).begin()


def test_pictures_at_an_address(store, pets):
    "Read as bytes when it is their turn; a folder is searched"
    from mlc_course.engine.addresses import RemotePicture, pictures_below
    store.create_dir('bucket/a/b')
    file = sorted(pets.iterdir())[0]
    for name in 'a/2.jpg','a/b/1.JPG','a/notes.txt','a/.hidden.jpg':
        with store.open_output_stream(f'bucket/{name}') as f: f.write(file.read_bytes())
    found = pictures_below('s3://bucket/a/')
    assert found==['s3://bucket/a/2.jpg','s3://bucket/a/b/1.JPG']
    clf = untrained()
    here,there,none = clf.predict([file, RemotePicture(found[1]), RemotePicture('s3://bucket/none.jpg')])
    assert there==dict(here, path='s3://bucket/a/b/1.JPG')
    assert none['error']=='s3://bucket/none.jpg: does not exist: check the name'
