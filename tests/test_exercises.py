"Exercises are open as shipped; each check accepts the worked answer, and tells of wrong ones what is wrong"
import json, math, re
from importlib import import_module
import pytest
from conftest import ROOT

NBS = ROOT/'nbs'
LESSONS = sorted(NBS.glob('[01][0-9]_*.ipynb'))
MODULES = sorted((ROOT/'mlc_course'/'exercises').glob('[a-z]*.py'))
HEADING = re.compile(r'^## Exercises?$', re.M)
# By lesson, the exercises that change an experiment
EXPERIMENTS = {'01_convolution': [4,5], '02_sigmoid': [4,5], '03_bce': [1,2,4], '04_data': [3,4],
    '05_train': [3,4], '06_where': [4,5], '07_unknown': [4,5], '08_trust': [4,5],
    '09_counting': [4,5], '10_rare': [3,4], '11_ship': [4,5]}


def cells(path):
    found = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [(c['cell_type'], ''.join(c['source']), c.get('outputs', [])) for c in found]


def shown(outputs): return ' '.join(''.join(o['data']['text/plain']) for o in outputs if 'data' in o)


def words(path): return '\n'.join(text for kind,text,_ in cells(path) if kind=='markdown')


PAGES = [p for p in sorted(NBS.rglob('*.ipynb')) if p.parent.name!='solutions' and HEADING.search(words(p))]
by_page = pytest.mark.parametrize('path', PAGES, ids=lambda p: str(p.relative_to(NBS).with_suffix('')))
by_lesson = pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)


def exercises_of(path):
    "The cells from the heading on"
    found = cells(path)
    start = [i for i,(kind,text,_) in enumerate(found) if kind=='markdown' and HEADING.search(text)]
    assert len(start)==1
    return found[start[0]:]


def numbers(path):
    "The numbers of a page's exercises; beside each stands how long it takes, and how hard it is"
    part = '\n'.join(text for kind,text,_ in exercises_of(path) if kind=='markdown')
    found = re.findall(r'^\*\*(\d+)\.\*\* ?(.*)', part, re.M)
    told = re.compile(r'\(\d+ minutes?( or more)?, (easy|medium|hard|harder)\b[^)]*\) \S')
    assert not [n for n,text in found if not told.match(text)]
    return [int(n) for n,_ in found]


def checks_of(path):
    "Name of a check, its exercise, the answer, and what is stored of it"
    is_check = re.compile(r'(check_(?:\w+_)?(\d+))\((\w+)\)')
    code = [(is_check.fullmatch(text.strip()), out) for kind,text,out in exercises_of(path) if kind=='code']
    return [(m[1], int(m[2]), m[3], shown(out)) for m,out in code if m]


def solution_of(path):
    "The notebook of worked answers that a page links"
    link = re.search(r'\[Worked answers\]\(([\w/.]+\.ipynb)\)', exercises_of(path)[0][1])
    assert link, 'no link to the worked answers'
    return (path.parent/link[1]).resolve()


@by_page
def test_open_as_shipped(path):
    "A place for each answer, and nothing in it; *Restart and Run All* finds none answered"
    found = numbers(path)
    assert found==[*range(1, len(found)+1)] and found
    checks = checks_of(path)
    assert [out for *_,out in checks]==['not answered yet']*len(checks)
    code = '\n'.join(text for kind,text,_ in exercises_of(path) if kind=='code')
    answers = {n: answer for _,n,answer,_ in checks}
    for n in found:
        answer = answers.get(n, f'guess_{n}')
        is_open = rf'^{answer} *= *.*\.\.\.|^def {answer}\(.*\): *\.\.\.'
        assert re.search(is_open, code, re.M), f'{answer} is not open'


@by_page
def test_worked_answers(path):
    """`try_answers`, run by nbdev-test, asserts that a check accepts the worked answer and no wrong one;
    what it says of those are whole sentences, and not always the same"""
    code = [(text,shown(out)) for kind,text,out in cells(solution_of(path)) if kind=='code']
    tried = {m[1]: out for text,out in code if (m := re.search(r'try_answers\((check_\w+)', text))}
    for name,*_ in checks_of(path):
        said = tried[name]
        assert ': right' in said
        hints = re.findall(r'not yet: (.*?)(?:,\n|}$)', said, re.S)
        assert len(set(hints))>1
        assert not [o for o in hints if o[-1] not in '.?' or len(o.split())<3]


@by_lesson
def test_lessons(path):
    "Four to six in a lesson, at least three with a check; two change an experiment, and the answer ran it"
    found = numbers(path)
    assert 4<=len(found)<=6
    assert len(checks_of(path))>=3
    experiments = EXPERIMENTS[path.stem]
    assert len(experiments)>=2 and {*experiments}<={*found}
    answered,ran,n = set(),set(),0
    for kind,text,out in cells(solution_of(path)):
        if kind=='code':
            if out: ran.add(n)
            continue
        for head in re.findall(r'^## (\d*)', text, re.M):
            n = int(head or 0)
            answered.add(n)
    assert {n for _,n,*_ in checks_of(path)}|{*experiments} <= answered
    assert {*experiments}<=ran


def test_experiments_have_exercises():
    "Each page of `deeper` that exports nothing is an experiment that a reader can change, but for a plan"
    def exports(path): return any('#| export' in text for _,text,_ in cells(path))
    experiments = [p for p in (NBS/'deeper').glob('*.ipynb') if not exports(p) and p.stem!='million']
    assert not [p.stem for p in experiments if p not in PAGES]


@pytest.mark.parametrize('name', [p.stem for p in MODULES if p.stem!='answers'])
def test_checks_meet_anything(name):
    "No answer makes a check raise, and an open one is not called wrong"
    module = import_module(f'mlc_course.exercises.{name}')
    checks = [getattr(module, o) for o in module.__all__ if o.startswith('check_')]
    assert checks
    def odd(*args, **kwargs): return 'no idea'
    for check in checks:
        for answer in ..., None, (1,...): assert check(answer)=='not answered yet'
        for answer in 'no idea', math.nan, -1e9, [], {}, odd: assert check(answer).startswith('not yet: ')
