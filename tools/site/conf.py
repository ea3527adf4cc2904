"How Sphinx builds the site; run by build_site.py, which writes what it reads"
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent)) # for course_sphinx
from mlc_course import __version__

project,version,language = 'mlc_course',__version__,'en'
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode', 'course_sphinx']
exclude_patterns = ['extra']

nb_execution_mode = 'off'
nb_merge_streams = True
nb_ipywidgets_js = {}
myst_enable_extensions = ['dollarmath', 'amsmath']
myst_heading_anchors = 4
html_math_renderer = 'mathml'

default_role = 'py:obj' # backticks in docstrings: a link where they name something of ours, else code
autodoc_typehints = 'none' # types stand in the table of parameters
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
add_module_names = False
maximum_signature_line_length = 80

html_theme = 'furo'
html_title,html_favicon = 'mlc_course','static/favicon.svg'
templates_path = ['templates']
html_css_files,html_js_files = ['course.css'],['course.js','read.js']
html_copy_source,html_show_copyright = False,False
html_theme_options = dict(top_of_page_buttons=['view'])
pygments_style,pygments_dark_style = 'friendly','github-dark'
