"Every chapter ends with open exercises; each check accepts the worked answer, and no wrong one"
import json, re
import pytest
from conftest import ROOT

CHAPTERS = sorted((ROOT/'nbs').glob('[01][0-9]_*.ipynb'))
by_chapter = pytest.mark.parametrize('path', CHAPTERS, ids=lambda p: p.stem)


def cells(path):
    found = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [(c['cell_type'], ''.join(c['source']), c.get('outputs', [])) for c in found]


def shown(outputs): return ' '.join(''.join(o['data']['text/plain']) for o in outputs if 'data' in o)


def checks_of(path):
    "The calls of checks in a chapter, each with what is stored of it"
    is_check = re.compile(r'check_\d\(\w+\)')
    return [(text,shown(out)) for _,text,out in cells(path) if is_check.fullmatch(text.strip())]


@by_chapter
def test_open_exercises(path):
    "An answer cell to fill in and a check each; as shipped, *Restart and Run All* finds none answered"
    all_cells = cells(path)
    is_start = [kind=='markdown' and text.startswith('## Exercises') for kind,text,_ in all_cells]
    start = [i for i,found in enumerate(is_start) if found]
    assert len(start)==1
    part = all_cells[start[0]:]
    assert f'solutions/{path.name}' in part[0][1], 'no link to the worked answers'
    checks = checks_of(path)
    assert 3<=len(checks)<=6
    assert [text[:7] for text,_ in checks]==[f'check_{i+1}' for i in range(len(checks))]
    assert [out for _,out in checks]==['not answered yet']*len(checks)
    code = [text for kind,text,_ in part if kind=='code']
    for text,_ in checks:
        answer = re.search(r'\((\w+)\)', text)[1]
        is_open = re.compile(rf'^{answer} *= *.*\.\.\.|^def {answer}\(.*\): *\.\.\.', re.M)
        assert any(is_open.search(o) for o in code), f'{answer} ships answered'


@by_chapter
def test_worked_answers(path):
    """`try_answers`, run by nbdev-test, asserts that a check accepts the worked answer and no wrong one;
    what it says of those are whole sentences"""
    solution = path.parent/'solutions'/path.name
    code = [(text,shown(out)) for kind,text,out in cells(solution) if kind=='code']
    tried = [(text,out) for text,out in code if 'try_answers(check_' in text]
    found = sorted(re.search(r'try_answers\((check_\d)', text)[1] for text,_ in tried)
    assert found==[text[:7] for text,_ in checks_of(path)]
    for _,out in tried:
        assert ': right' in out
        hints = re.findall(r'not yet: (.*?)(?:,\n|}$)', out, re.S)
        assert hints
        assert not [o for o in hints if o[-1] not in '.?']
