"Several processes, and several shards: the same answers as one"
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlc_course.draw.scenes import draw_portrait

BIN = Path(sys.executable).parent
LAUNCH = [BIN/'torchrun','--standalone','--nproc_per_node',2,'--no-python',BIN/'mlc_train']


def line(*args): return list(map(str, [*LAUNCH, *args]))


def launch(*args): return subprocess.run(line(*args), capture_output=True, text=True, timeout=300)


@pytest.fixture(scope='module')
def pets(tmp_path_factory):
    path = tmp_path_factory.mktemp('photos')/'pets'
    path.mkdir()
    for name in 'Siamese','pug','Bombay':
        for i in range(37): draw_portrait(name, i, 48)[0].save(path/f'{name}_{i}.jpg')
    return path


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    "A folder of checkpoints that holds random weights under the name of the pretrained ones"
    import torch
    from torchvision import models
    torch.manual_seed(0)
    home = tmp_path_factory.mktemp('torch')
    folder = home/'hub/checkpoints'
    folder.mkdir(parents=True)
    name = Path(models.SqueezeNet1_0_Weights.DEFAULT.url).name
    torch.save(models.squeezenet1_0(weights=None).state_dict(), folder/name)
    return home


@pytest.fixture
def run(capfd, monkeypatch, weights):
    "`run('mlc_train', ...)`: a command in this process, which spares seconds: exit code, stdout, stderr"
    monkeypatch.setenv('TORCH_HOME', str(weights))
    def run(name, *args):
        import mlc_course.ui.cli as cli
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        capfd.readouterr()
        code = 0
        try: command(getattr(cli, name))
        except SystemExit as e: code = e.code if isinstance(e.code, int) else bool(e.code)
        return code,*capfd.readouterr()
    return run


def command(fn):
    from fastcore.script import _run_cli
    _run_cli(fn.__wrapped__, False)


def config(path): return json.loads((path/'config.json').read_text())


def wordings(text):
    "All lines but for their figures"
    return [re.sub(r'[\d.:]+', '#', o) for o in text.splitlines()]


def said_by_mlc_train(err): return [o for o in err.splitlines() if o.startswith('mlc_train')]


# --- training in two processes

def in_one_and_two(run, folder, *args):
    "The same training in one process and in two: both say the same, but for figures, and leave only a model"
    code,said,_ = run('mlc_train', *args, '--out', folder/'one')
    assert code==0
    two = launch(*args, '--out', folder/'two')
    assert two.returncode==0, two.stderr
    assert wordings(said)==wordings(two.stdout.replace('two', 'one'))
    assert sorted(o.name for o in folder.iterdir())==['one','two']
    return config(folder/'one'),config(folder/'two')


def test_pass_is_shared_exactly(pets, run, tmp_path):
    "Without epochs, weights, references and metrics are those of one process"
    from safetensors.torch import load_file
    one,two = in_one_and_two(run, tmp_path, pets, '--size', 64)
    assert one['training']==two['training']
    assert one['training']['pretrained']
    assert one['metrics']==pytest.approx(two['metrics'], abs=.02)
    one,two = (load_file(tmp_path/o/'model.safetensors') for o in ('one','two'))
    for name in one:
        most = 1 if name=='references' else 1e-2
        assert (one[name].float()-two[name].float()).abs().max()<=most, name


KINDS = {
    'scratch': ('--arch','small_cnn','--size',48,'--epochs',8),
    'tuned':   ('--size',64,'--epochs',2)}


@pytest.mark.parametrize('kind', KINDS)
def test_training_is_shared(pets, run, tmp_path, says, kind):
    "Epochs too; other batches, so other figures, but as good a model"
    configs = in_one_and_two(run, tmp_path, pets, *KINDS[kind])
    one,two = (o['metrics']['map'] for o in configs)
    says(f'{kind}: mean average precision {one:.3f} in one process, {two:.3f} in two')
    assert two>one-.1


@pytest.fixture
def broken(pets, tmp_path):
    "A copy of the photos with three that are cut off; and what to train on them"
    shutil.copytree(pets, tmp_path/'p')
    bad = [tmp_path/'p'/f'pug_{i}.jpg' for i in (97,98,99)]
    for o in bad: o.write_bytes((pets/'pug_1.jpg').read_bytes()[:700])
    args = tmp_path/'p','--out',tmp_path/'m','--arch','small_cnn','--size',48,'--epochs',1
    return [o.name for o in bad],args


def test_errors_are_said_once(broken, run, tmp_path):
    "Broken pictures, found by two processes: what one process says, once; an exit code, no model, no hang"
    bad,args = broken
    two = launch(*args)
    assert two.returncode
    assert '[rank' not in two.stderr
    said = said_by_mlc_train(two.stderr)
    assert said==run('mlc_train', *args)[2].splitlines()
    for name in bad: assert name in '\n'.join(said)
    assert [o.name for o in tmp_path.iterdir()]==['p']


def test_bad_pictures_are_left_out_once(broken, tmp_path):
    bad,args = broken
    two = launch(*args, '--skip-bad')
    assert two.returncode==0
    for name in bad: assert two.stderr.count(name)==1
    training = config(tmp_path/'m')['training']
    assert training['n_train']+training['n_valid']==111


def test_a_dead_worker_ends_the_run(pets, tmp_path, says):
    "Killed in the middle of the epochs: an error within a minute, no model, no process left"
    args = pets,'--out',tmp_path/'m','--arch','small_cnn','--size',48,'--epochs',5000
    p = subprocess.Popen(line(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not p.stdout.readline().startswith('epoch 2 of'): assert p.poll() is None
        workers = copies(p.pid)
        assert len(workers)==2
        started = time.time()
        os.kill(workers[1], signal.SIGKILL)
        err = p.communicate(timeout=60)[1]
    finally: p.kill()
    says(f'a killed worker ends the run after {time.time()-started:.1f} s')
    assert p.returncode
    assert 'Signal 9' in err
    # the launcher may end the other one before it says a word
    for said in said_by_mlc_train(err):
        assert said=='mlc_train: another of the 2 processes has ended: nothing was saved, see its message'
    assert not (tmp_path/'m').exists()
    assert not [o for o in workers if Path(f'/proc/{o}').exists()]


def copies(pid):
    "Process ids of the copies that the launcher `pid` started, by rank"
    if not Path('/proc/self/environ').exists():
        pytest.skip('no /proc on this system: cannot tell the processes apart')
    def read(process, name):
        try: return (process/name).read_bytes()
        except OSError: return b''
    ranks = {}
    for process in Path('/proc').glob('[0-9]*'):
        stat = read(process, 'stat').rsplit(b')', 1)[-1].split()
        rank = re.search(rb'\0RANK=(\d+)', read(process, 'environ'))
        if rank and stat and int(stat[1])==pid: ranks[int(rank[1])] = int(process.name)
    return [ranks[o] for o in sorted(ranks)]


ALONE = '''
import sys
from mlc_course.ui.cli import mlc_train
mlc_train(sys.argv[1], sys.argv[2], 'small_cnn', epochs=0, size=32)
sys.exit(bool({'accelerate','fastai.distributed'} & set(sys.modules)))
'''


def test_alone_nothing_is_imported(pets, tmp_path):
    "Without the launcher no Accelerate and no distributed training of fastai, whatever the environment says"
    env = dict(os.environ, RANK='0', WORLD_SIZE='1', LOCAL_RANK='0')
    res = subprocess.run([sys.executable, '-c', ALONE, pets, tmp_path/'alone'], env=env)
    assert res.returncode==0


# --- labelling in shards

@pytest.fixture(scope='module')
def model(pets, tmp_path_factory):
    from mlc_course.classifier import Classifier
    clf = Classifier.train(pets, 'small_cnn', epochs=2, size=96)
    return clf.save(tmp_path_factory.mktemp('models')/'m')


@pytest.mark.parametrize('n', [2,3,7])
@pytest.mark.parametrize('flags', [[],['--json']], ids=['text','json'])
def test_shards(pets, model, run, tmp_path, n, flags):
    "All shards, one after another, are the whole to the last digit, a broken picture included"
    (tmp_path/'bad one.jpg').write_text('hello')
    args = model,pets,tmp_path/'bad one.jpg',pets/'pug_3.jpg',*flags
    code,whole,_ = run('mlc_predict', *args)
    assert code==1
    assert len(whole.splitlines())==113
    shards = [run('mlc_predict', *args, '--shard', f'{i}/{n}') for i in range(1, n+1)]
    assert ''.join(said for _,said,_ in shards)==whole
    assert sorted(code for code,_,_ in shards)==[0]*(n-1)+[1]


@pytest.mark.parametrize('n_items', [0,1,20,21,22,1000])
@pytest.mark.parametrize('n', [1,2,7,50])
def test_parts_are_even(n_items, n):
    "As equal as whole batches allow, nothing twice, nothing left out"
    from mlc_course.ui.cli import cut_part
    parts = [cut_part(list(range(n_items)), (i,n), 21) for i in range(1, n+1)]
    assert sum(parts, [])==list(range(n_items))
    sizes = list(map(len, parts))
    assert max(sizes)-min(sizes)<=42


def piped(model, lines, *args):
    line = [BIN/'mlc_predict', model, '-', *args]
    return subprocess.run(line, input=''.join(f'{o}\n' for o in lines), capture_output=True, text=True)


def test_list_on_stdin(pets, model, run):
    files = sorted(map(str, pets.iterdir()))
    res = piped(model, files, '--json')
    assert res.returncode==0
    assert res.stdout==run('mlc_predict', model, *files, '--json')[1]


def test_empty_shard(pets, model):
    "One photo, two parts: nothing for the first"
    res = piped(model, [pets/'pug_3.jpg'], '--shard', '1/2')
    assert (res.returncode,res.stdout,res.stderr)==(0,'','')


@pytest.mark.parametrize('shard', ['0/3','4/3','3','a/b','1/0','1/2/3','-1/3','1.5/3'])
def test_shard_refused(pets, model, run, shard):
    code,out,err = run('mlc_predict', model, pets, f'--shard={shard}')
    assert code==2
    assert err.count('\n')==1
    assert 'is no part' in err
    assert not out
