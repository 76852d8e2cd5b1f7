"""What all our pages have in common: one HTML file that opens from disk and may load nothing.

In: a title, a style sheet, the body. Out: the file. A Content-Security-Policy forbids it any network.
"""
from html import escape


def document(title, style, body):
    """The whole file; `title` is text, `style` and `body` are CSS and HTML as they stand."""
    return f"""<!doctype html>
<html lang='en'>
<head>
<meta charset='utf-8'>
<meta name='viewport' content='width=device-width, initial-scale=1'>
<meta http-equiv='Content-Security-Policy' content="default-src 'none'; script-src 'unsafe-inline';
 style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<title>{escape(title)}</title>
<link rel='icon' href='data:,'>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
