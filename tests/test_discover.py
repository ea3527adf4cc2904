"The photos that get no answer, in groups: who is with whom, what is written, what is left alone"
import csv, json, re, shutil
import pytest, torch
from conftest import call, draw, names, refused
from fastcore.basics import noop
from mlc_course.classifier import Classifier
from mlc_course.engine.core import InputError
from mlc_course.engine.groups import grouped
from mlc_course.ui.discover import check_out, discover, discover_page, mlc_discover


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Three breeds to learn, and a folder in which two others hide among them"
    path = tmp_path_factory.mktemp('discover')
    for o in 'Siamese', 'pug', 'beagle': draw(path/'old'/o, [o], 20, 64)
    draw(path/'mixed', ['car','samoyed'], 16, 64)
    for i in range(5): shutil.copy(path/f'old/pug/pug_{i}.jpg', path/'mixed')
    return path


@pytest.fixture(scope='module')
def clf(photos): return Classifier.train(photos/'old', size=128, say=noop)


@pytest.fixture(scope='module')
def model(clf, photos): return clf.save(photos/'model')


@pytest.fixture(scope='module')
def found(model, photos):
    "The folder that the command writes, and what it says"
    res = call('mlc_discover', model, photos/'mixed', '--out', photos/'found')
    assert (res.returncode, res.stderr)==(0, ''), res
    return photos/'found',res.stdout


def rows_of(folder):
    with open(folder/'groups.csv', newline='') as f: return list(csv.DictReader(f))


def test_written(found, clf, photos):
    folder,said = found
    assert names(folder)==['groups.csv','groups.html']
    rows = rows_of(folder)
    silent = [o['path'] for o in clf.predict(photos/'mixed') if not o['labels']]
    assert sorted(o['path'] for o in rows)==sorted(silent)
    assert {o['labels'] for o in rows}=={''}
    assert all(set(o['nearest'].split())=={*clf.vocab} for o in rows)
    assert f'{len(rows)} of 37 photos got no answer' in said
    assert said.splitlines()[-1].startswith('name the groups in ')


def test_groups_are_pure(found):
    "Cars are with cars, and samoyeds with samoyeds"
    of_group = {}
    for row in rows_of(found[0]):
        kind = re.findall('car|samoyed|pug', row['path'])[-1]
        if row['group']: of_group.setdefault(row['group'], []).append(kind)
    assert len(of_group)>=2
    n = sum(map(len, of_group.values()))
    assert sum(max(map(o.count, set(o))) for o in of_group.values())>=.9*n


def test_names_come_back(found, model, photos, tmp_path):
    "The column filled in by hand, then added"
    lines = (found[0]/'groups.csv').read_text().splitlines()
    rows = [next(csv.reader([o])) for o in lines]
    for row in rows[1:]:
        if row[1]: row[2] = re.findall('car|samoyed|pug', row[0])[-1]
    with open(tmp_path/'named.csv', 'w', newline='') as f: csv.writer(f).writerows(rows)
    new = Classifier.load(model).add(tmp_path/'named.csv', say=noop)
    assert {'car','samoyed'}<={*new.vocab}
    answers = new.predict(draw(tmp_path/'more', ['samoyed'], 24, 60))
    assert sum('samoyed' in o['labels'] for o in answers)>=12


def test_nothing_is_overwritten(found, tmp_path):
    "Neither names nor anything that is not ours; a table without names may be written anew"
    mine = tmp_path/'mine'
    shutil.copytree(found[0], mine)
    assert check_out(mine)==mine.resolve()
    table = (mine/'groups.csv').read_text().splitlines()
    row = next(csv.reader([table[1]]))
    row[2] = 'cart'
    with open(mine/'groups.csv', 'w', newline='') as f: csv.writer(f).writerows([table[0].split(','), row])
    with pytest.raises(InputError, match='holds names'): check_out(mine)
    (mine/'groups.csv').write_text('x\n')
    (mine/'thesis.txt').write_text('mine')
    with pytest.raises(InputError, match='not empty'): check_out(mine)
    with pytest.raises(InputError, match='is a file'): check_out(mine/'thesis.txt')


def test_refused(model, photos): refused(call('mlc_discover', model, photos/'mixed'), '--out FOLDER')


def test_bad_photos_and_none(clf, photos, tmp_path, capsys):
    draw(tmp_path, ['car'], 3, 64)
    (tmp_path/'bad.jpg').write_text('hello')
    silent = discover(clf, tmp_path)
    assert silent.n_asked==3
    assert silent.n_groups==0
    assert 'bad.jpg' in capsys.readouterr().err
    assert 'no group to name' in discover_page(silent, clf.vocab)
    with pytest.raises(InputError, match='none of 1 photos'): discover(clf, tmp_path/'bad.jpg')


def test_all_known(clf, model, photos, tmp_path, capsys):
    known = [o['path'] for o in clf.predict(photos/'old') if o['labels']][:4]
    mlc_discover(str(model), known, out=str(tmp_path/'found'))
    assert 'nothing to group' in capsys.readouterr().out
    assert names(tmp_path)==[]


def test_page_holds_no_code_of_a_name(clf, photos, tmp_path):
    "A file name that is HTML or script is shown, and does nothing"
    evil = '</script><script>alert(1)</script>.jpg'.replace('/', '_')
    draw(tmp_path/'p', ['car'], 8, 64)
    (tmp_path/'p/car_0.jpg').rename(tmp_path/'p'/evil)
    html = discover_page(discover(clf, tmp_path/'p'), clf.vocab, '<model>')
    assert '<script>alert' not in html and '<model>' not in html
    assert not re.search('https?://', html)
    data = re.search('id="rows">(.*?)</script>', html)[1]
    assert any(evil in o[0] for o in json.loads(data))


# --- groups

def crowds(sizes, n_feat=32, seed=0):
    gen = torch.Generator().manual_seed(seed)
    kind = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    centres = torch.randn(len(sizes), n_feat, generator=gen)
    return centres[kind]+.1*torch.randn(len(kind), n_feat, generator=gen),kind


def test_largest_first():
    x,kind = crowds([20,60,40])
    found = grouped(x, least=20)
    assert [kind[found==g].unique().tolist() for g in range(3)]==[[1],[2],[0]]


@pytest.mark.parametrize('n', [0, 1, 5, 11])
def test_too_few(n): assert grouped(torch.randn(n, 8)).tolist()==[-1]*n


def test_all_the_same(): assert len(grouped(torch.ones(40, 8)))==40


def test_many():
    "A lot of 4,000 is grouped, the others join"
    x,kind = crowds([3000,2500], 8)
    found = grouped(x, least=1500)
    assert (found>=0).float().mean()>.9
    for g in found[found>=0].unique(): assert len(kind[found==g].unique())==1
