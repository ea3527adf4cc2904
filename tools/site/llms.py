"llms.txt (llmstxt.org): what programs that read should know of the course, and its pages as markdown"
import ast, re
from pathlib import Path

from nbdev.config import nbpath2html

import pages

ROOT = Path(__file__).resolve().parents[2]


def found(pattern, file):
    "What the group of `pattern` holds in one of the project's files"
    return re.search(pattern, (ROOT/file).read_text(encoding='utf-8'), re.M|re.S)[1].strip()


def docstring(module, package):
    "The first paragraph of what a module says of itself"
    code = (package/f'{module.replace(".", "/")}.py').read_text(encoding='utf-8')
    return ' '.join(ast.get_docstring(ast.parse(code)).partition('\n\n')[0].split())


def promise(nb):
    "What a notebook promises under its title"
    text = '\n'.join(c.source for c in nb.cells if c.cell_type=='markdown')
    said = re.search(r'(?:^> .+\n?)+', text, re.M)
    return ' '.join(line[2:] for line in said[0].splitlines()) if said else ''


def listing(chapters, modules, package):
    "The text: `chapters` are pages by name, `modules` has the chapter of each module of `package`"
    home = found(r'^Documentation = "(.+?)"', 'pyproject.toml')
    repository = found(r'^Repository = "(.+?)"', 'pyproject.toml')
    def plain(text): return re.sub(r'\[([^]]+)\]\([^)]+\)', r'\1', text)
    def line(name, text, says):
        return f'- [{text}]({home}{nbpath2html(f"{name}.ipynb")}.md): {plain(says)}'.removesuffix(': ')
    def about(name): return line(name, pages.title(chapters[name]), promise(chapters[name]))
    def of(module): return line(modules[module], f'mlc_course.{module}', docstring(module, package))
    lessons = ['index', *filter(pages.is_lesson, chapters)]
    others = [name for name in chapters if name not in lessons and name not in modules.values()]
    parts = ['# mlc_course', f'> {found(r"^description = (.+?)$", "settings.ini")}',
        f'A course of notebooks, and the package that they make. In a clone of <{repository}>:',
        found(r'(^```\n.+?^```)', 'README.md'), 'From Python:', found(r'(^```python\n.+?^```)', 'README.md'),
        '## Lessons', '\n'.join(map(about, lessons)),
        '## Modules', '\n'.join(map(of, modules)),
        '## Optional', '\n'.join(map(about, others))]
    return '\n\n'.join(parts)+'\n'
