"More pictures and labels for a trained model: what is remembered, learned, and said of the old figures"
import hashlib, json, shutil
import pytest, torch
from conftest import call, config_of, draw, refused, tree
from fastcore.basics import noop
from mlc_course.classifier import Classifier
from mlc_course.engine.adding import check_unchanged, may_show
from mlc_course.engine.core import BadPictures, InputError
from mlc_course.engine.groups import groups_table, is_groups, named_rows
from mlc_course.engine.memory import to_tensors, trains, validates
from mlc_course.engine.model_file import content_keys
from mlc_course.metrics import mean_ap


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Folders of a label each: `old` with three breeds, `new` with a fourth, `test` with more of that"
    path = tmp_path_factory.mktemp('adding')
    for o in 'Siamese', 'pug', 'beagle': draw(path/'old'/o, [o], 20, 64)
    draw(path/'all', ['samoyed'], 24, 64)
    for part,of_part in ('new',range(16)), ('test',range(16, 24)):
        (path/part/'samoyed').mkdir(parents=True)
        for i in of_part: shutil.copy(path/f'all/samoyed_{i}.jpg', path/part/'samoyed')
    return path


@pytest.fixture(scope='module')
def frozen(photos): return Classifier.train(photos/'old', size=64, say=noop)


@pytest.fixture(scope='module')
def more(frozen, photos):
    "With the fourth breed, and in `more.said` what was told"
    said = []
    res = frozen.add(photos/'new', say=said.append)
    res.said = said
    return res


def n_named(clf, photos, label='samoyed'):
    return sum(label in o['labels'] for o in clf.predict(photos/'test'))


# --- what is learned

def test_a_new_label(frozen, more, photos):
    assert more.vocab==[*frozen.vocab, 'samoyed']
    assert n_named(more, photos)>=6
    assert frozen.vocab==['Siamese','beagle','pug'] # stays as it is
    old = [o['labels'] for o in more.predict(photos/'old')]
    assert sum(o==[f.parent.name] for o,f in zip(old, sorted((photos/'old').rglob('*.jpg'))))>50
    facts = more.config['training']
    assert (facts['n_train'], facts['n_added'])==(76, 16)
    assert len(more.trained)==76


def test_as_good_as_training_anew(more, photos, tmp_path):
    "The same head, but for the last digits: the features have a byte each"
    shutil.copytree(photos/'old', tmp_path/'both')
    shutil.copytree(photos/'new', tmp_path/'both', dirs_exist_ok=True)
    anew = Classifier.train(tmp_path/'both', size=64, say=noop)
    order = [anew.vocab.index(o) for o in more.vocab]
    feats,targets = more.memory.floats(),more.memory.targets==1
    with torch.no_grad(): a,b = (clf.model[1][-1](feats) for clf in (more,anew))
    assert (a.sigmoid()-b[:,order].sigmoid()).abs().max()<.1
    assert abs(mean_ap(a, targets)-mean_ap(b[:,order], targets))<.01
    assert abs(more.config['metrics']['map']-anew.config['metrics']['map'])<.02


def test_what_is_said(more):
    said = '\n'.join(more.said)
    assert '16 pictures join 60 that are remembered' in said
    assert 'by the old labels: mean average precision' in said
    assert ', now ' in said
    assert 'new: samoyed, 16 pictures, average precision' in said
    assert 'average precision' in said and 'rehearsal' in said


def test_few_pictures_of_a_new_label(more, frozen, tmp_path):
    "Two of them would give strangers its name: that is said, and of sixteen nothing"
    said = []
    frozen.add(draw(tmp_path/'p'/'Persian', ['Persian'], 2, 64), say=said.append)
    assert sum('new: Persian, 2 pictures' in o and 'add some more' in o for o in said)==1
    assert not any('add some more' in o for o in more.said)


def test_again_and_again(more, photos, tmp_path):
    "A saved model is added to as well; what it has learned from already counts once"
    again = Classifier.load(more.save(tmp_path/'m'))
    said = []
    same = again.add(photos/'new', say=said.append)
    assert same.memory.n==more.memory.n==76
    assert any('16 pictures were learned before' in o for o in said)
    third = same.add(draw(tmp_path/'Persian', ['Persian'], 8, 64), say=noop)
    assert third.vocab==[*more.vocab, 'Persian']
    assert third.config['training']['n_added']==16+16+8


def test_another_name_for_a_picture(more, photos, tmp_path):
    "The newest labels count"
    shutil.copytree(photos/'new/samoyed', tmp_path/'new/white_dog')
    renamed = more.add(tmp_path/'new', say=noop)
    of_label = dict(zip(renamed.vocab, renamed.memory.labels().nan_to_num().sum(0).tolist()))
    assert (of_label['samoyed'], of_label['white_dog'])==(0, 16)


def test_more_of_an_old_label_and_of_none(frozen, photos, strangers, tmp_path):
    res = frozen.add(draw(tmp_path/'p'/'pug', ['pug'], 30, 60), strangers, say=noop)
    assert res.vocab==frozen.vocab
    assert res.config['training']['n_unlabelled']==12


def test_one_picture(frozen, photos, tmp_path):
    (tmp_path/'p/samoyed').mkdir(parents=True)
    shutil.copy(photos/'all/samoyed_1.jpg', tmp_path/'p/samoyed')
    assert frozen.add(tmp_path/'p', say=noop).vocab[-1]=='samoyed'


def test_model_with_a_fixed_split(trained, strangers, tmp_path):
    "A fine-tuned body too: a fifth of the new pictures validates"
    res = trained.add(draw(tmp_path/'p'/'beagle', ['beagle'], 10, 48), say=noop)
    assert set(res.memory.turns.tolist())=={trains,validates}
    its = torch.isin(res.memory.keys, content_keys(list((tmp_path/'p').rglob('*.jpg'))))
    assert (res.memory.turns[its]==validates).sum()==2
    assert res.config['rehearsal'] is None


def test_keeps_what_was_asked(frozen, photos):
    asked = frozen.with_keep(.8).with_threshs(dict(pug=.7))
    res = asked.add(photos/'new', say=noop)
    assert (res.decision.keep, res.decision.asked)==(.8, ('pug',))
    assert res.decision.threshs[res.vocab.index('pug')]==.7


def test_pictures_that_may_show_it():
    "Old pictures like those that are named are found, and no new one"
    gen = torch.Generator().manual_seed(1)
    shows,asked = torch.arange(200)%4==0,torch.arange(200)>=120
    feats = torch.randn(200, 6, generator=gen)
    feats[:,2] += 8*shows
    found = may_show(feats, (shows & asked).float()[:,None], asked)[:,0]
    assert not (found & asked).any()
    assert (found & shows).sum()>=27 # of 30
    assert (found & ~shows).sum()<=3


def test_bad_pictures(frozen, photos, tmp_path, capsys):
    shutil.copytree(photos/'new', tmp_path/'p')
    (tmp_path/'p/samoyed/bad.jpg').write_bytes(b'\xff\xd8')
    with pytest.raises(BadPictures, match='bad.jpg'): frozen.add(tmp_path/'p', say=noop)
    assert frozen.add(tmp_path/'p', skip_bad=True, say=noop).memory.n==76
    assert '1 of 17 pictures are left out' in capsys.readouterr().err


# --- what is remembered

def test_memory_is_saved(frozen, tmp_path):
    again = Classifier.load(frozen.save(tmp_path/'m'))
    assert all(a.equal(b) for a,b in zip(again.memory, frozen.memory))
    assert again.with_keep(.5).memory is again.memory


def test_without_memory(frozen, photos, tmp_path):
    "It can be saved and asked, but not added to"
    bare = Classifier(frozen.model, frozen.decision, frozen.refs, frozen.config)
    again = Classifier.load(bare.save(tmp_path/'m'))
    assert n_named(again, photos)==0
    with pytest.raises(InputError, match='does not remember'): again.add(photos/'new')


@pytest.mark.parametrize('how', [dict(arch='small_cnn'), dict(size=96), dict(seed=1), dict(keep=.9),
    dict(min_images=2), dict(max_missed=.1), dict(loss='focal')])
def test_options_of_training(how):
    "They need training anew, and the message says which"
    option = f'--{[*how][0]}'.replace('_', '-')
    with pytest.raises(InputError, match=f'{option} .*without --add'): check_unchanged(how)


def test_model_of_format_5(frozen, photos, tmp_path):
    "It loads, and says in one line that nothing can be added"
    def forget(state):
        for o in to_tensors(frozen.memory): del state[o]
    folder = spoil(frozen.save(tmp_path/'m'), forget, format='mlc_course model 5')
    old = Classifier.load(folder)
    assert old.predict(photos/'new')==frozen.predict(photos/'new')
    with pytest.raises(InputError, match='train it again'): old.add(photos/'new')


def spoil(folder, change, **facts):
    "A model with other tensors, its checksum put right"
    from safetensors.torch import load_file, save_file
    file = folder/'model.safetensors'
    state = load_file(file)
    change(state)
    save_file(state, file)
    config = config_of(folder) | facts | dict(weights_sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    (folder/'config.json').write_text(json.dumps(config))
    return folder


def put(name, fn):
    def change(state): state[f'memory.{name}'] = fn(state[f'memory.{name}']).contiguous()
    return change


@pytest.mark.parametrize('change', [
    put('targets', lambda o: o+2), put('targets', lambda o: o[:,:2]), put('turns', lambda o: o-3),
    put('scale', lambda o: o*torch.inf), put('scale', lambda o: -o), put('logits', lambda o: o*torch.nan),
    put('score', lambda o: o+torch.inf), put('feats', lambda o: o[:-1]), put('feats', lambda o: o.float()),
    put('keys', lambda o: o[:0]), lambda state: state.pop('memory.keys'),
    lambda state: state.update({'memory.more': torch.zeros(1)})])
def test_spoiled_memory(frozen, tmp_path, change):
    folder = spoil(frozen.save(tmp_path/'m'), change)
    with pytest.raises(InputError, match='model.safetensors does not fit'): Classifier.load(folder)


def test_large_memory(frozen, monkeypatch):
    "A random lot is saved"
    found = to_tensors(frozen.memory, most=20_000)
    n = len(found['memory.keys'])
    assert n==20_000//frozen.memory.n_bytes()
    assert all(len(o)==n for o in found.values())


# --- the table of names

def table_of(path, rows):
    path.write_bytes(groups_table(rows))
    return path


def test_named_groups(frozen, photos, tmp_path):
    "Only rows with a name count, wherever the table lies"
    files = sorted((photos/'new').rglob('*.jpg'))
    rows = [[f,i%2+1,'white dog' if i%2 else '','pug',-1] for i,f in enumerate(files)]
    res = frozen.add(table_of(tmp_path/'named.csv', rows), say=noop)
    assert (res.vocab[-1], res.config['training']['n_added'])==('white_dog', 8)


@pytest.mark.parametrize('text', ['path,group,labels,nearest,score\n/a.jpg,1,x,y,1\n',
    '\ufeffpath;group;labels;nearest;score\n/a.jpg;1;x;y;1\n'])
def test_tables_of_spreadsheets(tmp_path, text):
    (tmp_path/'t.csv').write_text(text, encoding='utf-8')
    assert is_groups(tmp_path/'t.csv')
    assert named_rows(tmp_path/'t.csv').values.tolist()==[['/a.jpg',['x']]]


def test_nothing_named(frozen, tmp_path):
    file = table_of(tmp_path/'named.csv', [['/a.jpg',1,' ','pug',-1]])
    with pytest.raises(InputError, match='names no group'): frozen.add(file)


# --- the command

def test_command(frozen, photos, tmp_path):
    "The model may be replaced by itself; a refused one leaves it as it is"
    folder = frozen.save(tmp_path/'m')
    before = tree(folder)
    res = call('mlc_train', '--add', folder, photos/'new', '--out', folder, '--epochs', 2, '--no-augment')
    refused(res, '--epochs --no-augment', 'without --add')
    assert tree(folder)==before
    res = call('mlc_train', '--add', folder, photos/'new', '--out', folder)
    assert (res.returncode, res.stderr)==(0, '')
    assert 'new: samoyed' in res.stdout and res.stdout.endswith(f'model saved in {folder}\n')
    assert config_of(folder)['vocab'][-1]=='samoyed'
