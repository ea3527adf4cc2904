"Several processes, and several shards: the same answers as one"
import json, os, re, shutil, signal, subprocess, sys, time
from pathlib import Path
import pytest
from mlc_course.draw.scenes import draw_portrait

BIN = Path(sys.executable).parent
LAUNCH = [BIN/'torchrun','--standalone','--nproc_per_node','2','-m','mlc_course.engine.machines']


def launch(*args): return subprocess.run([*map(str, [*LAUNCH, *args])], capture_output=True, text=True, timeout=300)


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
    (home/'hub/checkpoints').mkdir(parents=True)
    torch.save(models.squeezenet1_0(weights=None).state_dict(), home/'hub/checkpoints'/Path(models.SqueezeNet1_0_Weights.DEFAULT.url).name)
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
        except SystemExit as e:
            code = e.code if type(e.code) is int else 1 if e.code else 0
        return code,*capfd.readouterr()
    return run


def command(fn):
    from fastcore.script import _run_cli
    _run_cli(fn.__wrapped__, False)


def config(path): return json.loads((path/'config.json').read_text())
def wordings(text): return [re.sub(r'[\d.:]+', '#', o) for o in text.splitlines()] # all but the figures


def in_one_and_two(run, folder, *args):
    "The same training in one process and in two: they say the same, but for figures, and leave nothing but the model"
    code,said,_ = run('mlc_train', *args, '--out', folder/'one')
    two = launch(*args, '--out', folder/'two')
    assert (code, two.returncode)==(0,0), two.stderr
    assert wordings(said)==wordings(two.stdout.replace('two', 'one')), two.stdout
    assert sorted(o.name for o in folder.iterdir())==['one','two']
    return config(folder/'one'),config(folder/'two')


def test_pass_is_shared_exactly(pets, run, tmp_path):
    "Without epochs, weights, references, thresholds and metrics are those of one process"
    from safetensors.torch import load_file
    a,b = in_one_and_two(run, tmp_path, pets, '--size', 64)
    assert a['training']==b['training'] and a['training']['pretrained']
    assert a['metrics']==pytest.approx(b['metrics'], abs=.02)
    a,b = (load_file(tmp_path/o/'model.safetensors') for o in ('one','two'))
    assert all((a[k].float()-b[k].float()).abs().max()<=(1 if k=='references' else 1e-2) for k in a)


@pytest.mark.parametrize('args', [('--arch','small_cnn','--size',48,'--epochs',8), ('--size',64,'--epochs',2)], ids=['scratch','tuned'])
def test_training_is_shared(pets, run, tmp_path, says, args):
    "Epochs too; other batches, so other figures, but as good a model"
    a,b = (o['metrics']['map'] for o in in_one_and_two(run, tmp_path, pets, *args))
    says(f'{" ".join(map(str, args))}: mean average precision {a:.3f} in one process, {b:.3f} in two')
    assert b>a-.1


def test_errors_are_said_once(pets, run, tmp_path):
    "Broken pictures, found by two processes: what one process says, once; an exit code, no model, no hang"
    shutil.copytree(pets, tmp_path/'p')
    bad = [tmp_path/'p'/f'pug_{i}.jpg' for i in (97,98,99)]
    for o in bad: o.write_bytes((pets/'pug_1.jpg').read_bytes()[:700])
    args = tmp_path/'p','--out',tmp_path/'m','--arch','small_cnn','--size',48,'--epochs',1
    two = launch(*args)
    said = [o for o in two.stderr.splitlines() if o.startswith('mlc_train')]
    assert two.returncode and '[rank' not in two.stderr, two.stderr
    assert said==run('mlc_train', *args)[2].splitlines() and all(o.name in '\n'.join(said) for o in bad)
    assert [o.name for o in tmp_path.iterdir()]==['p']
    two = launch(*args, '--skip-bad')
    assert two.returncode==0 and all(two.stderr.count(o.name)==1 for o in bad), two.stderr
    assert config(tmp_path/'m')['training']['n_train']+config(tmp_path/'m')['training']['n_valid']==111


def test_a_dead_worker_ends_the_run(pets, tmp_path, says):
    "Killed in the middle of the epochs: an error within a minute, no model, no process left"
    args = pets,'--out',tmp_path/'m','--arch','small_cnn','--size',48,'--epochs',5000
    p = subprocess.Popen([*map(str, [*LAUNCH, *args])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not p.stdout.readline().startswith('epoch 2 of'): assert p.poll() is None
        workers,t0 = copies(p.pid),time.time()
        os.kill(workers[1], signal.SIGKILL)
        err = p.communicate(timeout=60)[1]
    finally: p.kill()
    says(f'a killed worker ends the run after {time.time()-t0:.1f} s')
    assert len(workers)==2 and p.returncode and 'Signal 9' in err
    assert [o for o in err.splitlines() if o.startswith('mlc_train')] in ([], ['mlc_train: another of the 2 processes has ended: '
        'nothing was saved, see its message'])
    assert not (tmp_path/'m').exists() and not [o for o in workers if Path(f'/proc/{o}').exists()]


def copies(pid):
    "Process ids of the copies that the launcher `pid` started, by rank"
    if not Path('/proc/self/environ').exists(): pytest.skip('no /proc on this system: cannot tell the processes apart')
    def read(o, name):
        try: return (o/name).read_bytes()
        except OSError: return b''
    ranks = {}
    for o in Path('/proc').glob('[0-9]*'):
        stat,rank = read(o, 'stat').rsplit(b')', 1)[-1].split(),re.search(rb'\0RANK=(\d+)', read(o, 'environ'))
        if rank and stat and int(stat[1])==pid: ranks[int(rank[1])] = int(o.name)
    return [v for _,v in sorted(ranks.items())]


@pytest.fixture(scope='module')
def model(pets, tmp_path_factory):
    from mlc_course.classifier import Classifier
    return Classifier.train(pets, 'small_cnn', epochs=2, size=96).save(tmp_path_factory.mktemp('models')/'m')


def test_alone_nothing_is_imported(pets):
    "Training without the launcher knows nothing of Accelerate, nor of fastai's distributed training, whatever the environment says"
    code = (f"import sys; from mlc_course.ui.cli import mlc_train; mlc_train({str(pets)!r}, {str(pets.parent/'alone')!r}, 'small_cnn', epochs=0, size=32); "
        "sys.exit(bool({'accelerate','fastai.distributed'} & set(sys.modules)))")
    env = dict(os.environ, RANK='0', WORLD_SIZE='1', LOCAL_RANK='0')
    assert subprocess.run([sys.executable, '-c', code], env=env).returncode==0


@pytest.mark.parametrize('n', [2,3,7])
@pytest.mark.parametrize('flags', [[],['--json']])
def test_shards(pets, model, run, tmp_path, n, flags):
    "All shards, one after another, are the whole to the last digit, a broken picture included"
    (tmp_path/'bad one.jpg').write_text('hello')
    args = model,pets,tmp_path/'bad one.jpg',pets/'pug_3.jpg',*flags
    code,whole,_ = run('mlc_predict', *args)
    parts = [run('mlc_predict', *args, '--shard', f'{i}/{n}') for i in range(1, n+1)]
    assert ''.join(o[1] for o in parts)==whole and len(whole.splitlines())==113
    assert code==1 and sorted(o[0] for o in parts)==[0]*(n-1)+[1]


def test_parts_are_even(model):
    "As equal as whole batches allow, nothing twice, nothing left out"
    from mlc_course.ui.cli import cut_part
    for n_items in 0,1,20,21,22,1000:
        for n in 1,2,7,50:
            parts = [cut_part(list(range(n_items)), (i,n), 21) for i in range(1, n+1)]
            assert sum(parts, [])==list(range(n_items)) and max(map(len, parts))-min(map(len, parts))<=42


def test_list_on_stdin(pets, model, run):
    files = sorted(map(str, pets.iterdir()))
    def piped(lines, *args): return subprocess.run([BIN/'mlc_predict', model, '-', *args], input=lines, capture_output=True, text=True)
    res = piped('\n'.join(files), '--json')
    assert res.returncode==0 and res.stdout==run('mlc_predict', model, *files, '--json')[1]
    res = piped(files[0]+'\n', '--shard', '1/2')
    assert (res.returncode, res.stdout, res.stderr)==(0,'','')     # one photo, two parts: nothing for the first


@pytest.mark.parametrize('shard', ['0/3','4/3','3','a/b','1/0','1/2/3','-1/3','1.5/3'])
def test_shard_refused(pets, model, run, shard):
    code,out,err = run('mlc_predict', model, pets, '--shard', shard) if shard[0]!='-' else run('mlc_predict', model, pets, f'--shard={shard}')
    assert code==2 and err.count('\n')==1 and 'is no part' in err and not out
