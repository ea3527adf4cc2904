"Several processes, and several shards: the same answers as one"
import os, re, shutil, signal, subprocess, time
from pathlib import Path
import pytest
from fastcore.script import anno_parser
from conftest import BIN, call, config_of, draw, names, python, untrained
from messages import line
from mlc_course.ui import cli

LAUNCH = 'torchrun', '--standalone', '--nproc_per_node', '2', '--no-python', str(BIN/'mlc_train')
SCRATCH = '--arch', 'small_cnn', '--size', 48, '--epochs'


def launch(*args): return call(*LAUNCH, *args)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "111 portraits: more than a batch of either process"
    return draw(tmp_path_factory.mktemp('photos')/'photos', ['Siamese','pug','Bombay'], 37)


@pytest.fixture
def run(capfd):
    "`run('mlc_train', ...)`: a command in this process, which spares seconds: exit code, stdout, stderr"
    def run(name, *args):
        command = getattr(cli, name).__wrapped__
        given = vars(anno_parser(command).parse_args(list(map(str, args))))
        for o in 'pdb', 'xtra': given.pop(o)
        capfd.readouterr()
        code = 0
        try: command(**given)
        except SystemExit as e: code = e.code if type(e.code) is int else 1
        return code,*capfd.readouterr()
    return run


# --- training

def wordings(text): return [re.sub(r'[\d.:]+', '#', o) for o in text.splitlines()] # all but the figures


def in_one_and_two(run, folder, *args):
    "The same training in one process and in two: they say the same, but for figures"
    code,said,_ = run('mlc_train', *args, '--out', folder/'one')
    two = launch(*args, '--out', folder/'two')
    assert (code, two.returncode)==(0,0), two.stderr
    assert wordings(said)==wordings(two.stdout.replace('two', 'one')), two.stdout
    assert names(folder)==['one','two']
    return config_of(folder/'one'),config_of(folder/'two')


def test_pass_is_shared_exactly(photos, run, tmp_path):
    "Without epochs, weights, references, thresholds and metrics are those of one process"
    from safetensors.torch import load_file
    a,b = in_one_and_two(run, tmp_path, photos, '--size', 64)
    assert a['training']['pretrained']
    assert a['training']==b['training']
    assert a['metrics']==pytest.approx(b['metrics'], abs=.02)
    a,b = (load_file(tmp_path/o/'model.safetensors') for o in ('one','two'))
    for name in a:
        most = 1 if name=='references' else 1e-2
        assert (a[name].float()-b[name].float()).abs().max()<=most, name


@pytest.mark.parametrize('args', [(*SCRATCH, 8), ('--size', 64, '--epochs', 2)], ids=['scratch','tuned'])
def test_training_is_shared(photos, run, tmp_path, says, args):
    "Epochs too; other batches, so other figures, but as good a model"
    a,b = (o['metrics']['map'] for o in in_one_and_two(run, tmp_path, photos, *args))
    says(f'{" ".join(map(str, args))}: mean average precision {a:.3f} in one process, {b:.3f} in two')
    assert b>a-.1


@pytest.fixture
def with_bad(photos, tmp_path):
    "A copy of `photos` with three broken ones, which both processes come across"
    shutil.copytree(photos, tmp_path/'p')
    for i in 97, 98, 99: (tmp_path/f'p/pug_{i}.jpg').write_bytes((photos/'pug_1.jpg').read_bytes()[:700])
    return tmp_path/'p'


def test_errors_are_said_once(with_bad, run, tmp_path):
    "What one process says, once; an exit code, no model, no hang"
    args = with_bad, '--out', tmp_path/'m', *SCRATCH, 1
    two = launch(*args)
    said = [o for o in two.stderr.splitlines() if o.startswith('mlc_train')]
    assert two.returncode
    assert '[rank' not in two.stderr
    assert said==run('mlc_train', *args)[2].splitlines()
    for i in 97, 98, 99: assert f'pug_{i}.jpg' in '\n'.join(said)
    assert names(tmp_path)==['p']


def test_bad_pictures_are_left_out_once(with_bad, tmp_path):
    two = launch(with_bad, '--out', tmp_path/'m', *SCRATCH, 1, '--skip-bad')
    assert two.returncode==0
    for i in 97, 98, 99: assert two.stderr.count(f'pug_{i}.jpg')==1
    facts = config_of(tmp_path/'m')['training']
    assert facts['n_train']+facts['n_valid']==111


def test_a_dead_worker_ends_the_run(photos, tmp_path, says):
    "Killed in the middle of the epochs: an error within a minute, no model, no process left"
    args = photos, '--out', tmp_path/'m', *SCRATCH, 5000
    command = [BIN/LAUNCH[0], *map(str, [*LAUNCH[1:], *args])]
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not p.stdout.readline().startswith('epoch 2 of'): assert p.poll() is None
        workers,t0 = copies(p.pid),time.time()
        os.kill(workers[1], signal.SIGKILL)
        err = p.communicate(timeout=60)[1]
    finally: p.kill()
    says(f'a killed worker ends the run after {time.time()-t0:.1f} s')
    assert len(workers)==2
    assert p.returncode
    assert 'Signal 9' in err
    said = [o for o in err.splitlines() if o.startswith('mlc_train')]
    assert said in ([], ['mlc_train: '+line('other_ended')])
    assert not (tmp_path/'m').exists()
    assert not [o for o in workers if Path(f'/proc/{o}').exists()]


def copies(pid):
    "Process ids of the copies that the launcher `pid` started, by rank"
    if not Path('/proc/self/environ').exists():
        pytest.skip('no /proc on this system: cannot tell processes apart')
    def read(o, name):
        try: return (o/name).read_bytes()
        except OSError: return b''
    ranks = {}
    for o in Path('/proc').glob('[0-9]*'):
        stat = read(o, 'stat').rsplit(b')', 1)[-1].split()
        rank = re.search(rb'\0RANK=(\d+)', read(o, 'environ'))
        if rank and stat and int(stat[1])==pid: ranks[int(rank[1])] = int(o.name)
    return [v for _,v in sorted(ranks.items())]


def test_alone_nothing_is_imported(pets, tmp_path):
    "No Accelerate, and not fastai's distributed training, whatever the environment says"
    code = '''import sys
from mlc_course.ui.cli import mlc_train
photos, out = sys.argv[1:]
mlc_train(photos, out, 'small_cnn', epochs=1, size=32)
print({'accelerate','fastai.distributed'} & set(sys.modules))'''
    env = dict(os.environ, RANK='0', WORLD_SIZE='1', LOCAL_RANK='0')
    assert python(code, pets, tmp_path/'m', env=env, check=True).stdout.splitlines()[-1]=='set()'


# --- shards

@pytest.fixture(scope='module')
def model(tmp_path_factory):
    "Of such a size that a batch has 21 pictures"
    return untrained(facts=dict(size=96)).save(tmp_path_factory.mktemp('models')/'m')


@pytest.mark.parametrize('n', [2,3,7])
@pytest.mark.parametrize('flags', [[],['--json']])
def test_shards(photos, model, run, tmp_path, n, flags):
    "All shards, one after another, are the whole to the last digit, a broken picture included"
    (tmp_path/'bad one.jpg').write_text('hello')
    args = model, photos, tmp_path/'bad one.jpg', photos/'pug_3.jpg', *flags
    code,whole,_ = run('mlc_predict', *args)
    parts = [run('mlc_predict', *args, '--shard', f'{i}/{n}') for i in range(1, n+1)]
    assert len(whole.splitlines())==113
    assert ''.join(o[1] for o in parts)==whole
    assert code==1
    assert sorted(o[0] for o in parts)==[0]*(n-1)+[1]


@pytest.mark.parametrize('n', [1,2,7,50])
@pytest.mark.parametrize('n_items', [0,1,20,21,22,1000])
def test_parts_are_even(n_items, n):
    "As equal as whole batches allow, nothing twice, nothing left out"
    parts = [cli.cut_part(list(range(n_items)), (i,n), 21) for i in range(1, n+1)]
    assert sum(parts, [])==list(range(n_items))
    sizes = list(map(len, parts))
    assert max(sizes)-min(sizes)<=42


def test_list_on_stdin(photos, model, run):
    files = sorted(map(str, photos.iterdir()))
    res = call('mlc_predict', model, '-', '--json', input='\n'.join(files))
    assert res.returncode==0
    assert res.stdout==run('mlc_predict', model, *files, '--json')[1]


def test_empty_shard(photos, model):
    "One photo, two parts: nothing for the first"
    res = call('mlc_predict', model, '-', '--shard', '1/2', input=f'{photos/"pug_3.jpg"}\n')
    assert (res.returncode, res.stdout, res.stderr)==(0,'','')
