//! Writes SVG: shapes with a class, and text made harmless.

use std::fmt::Write as _;

/// Colours that can be told apart on white and on black; what must differ is overridden.
const STYLE: &str = "\
text{font:10px system-ui,'DejaVu Sans',sans-serif;fill:#20242a}\
.title{font-size:16px;font-weight:600}.name{font-size:11px;font-weight:600}\
.dim{fill:#5c6570}.bad{fill:#c62828;font-weight:600}.label{font-size:9.5px}\
.back{fill:#fff}.floor{fill:#e6ebf0;fill-opacity:.6}.grid{stroke:#d4d9df;stroke-width:1}\
.phase0{fill:#dfe6ee}.phase1{fill:#cfdbe8}\
.stored{fill:#2f9e58}.weak{fill:#9bbb2f}.late{fill:#14a3b8}.sent{fill:#4f7ddb}\
.refused{fill:#ea8a12}.unknown{fill:#d93a35}.notsent{fill:#8b939d}.open{fill:#b34fc6}\
.shade{fill:#8e5bd0;fill-opacity:.08}.fault{fill:#8e5bd0;fill-opacity:.42}\
.avoid{fill:url(#hatch)}.stripe{stroke:#a1670a;stroke-width:2}.conn{fill:#7f9bb8}\
.written{stroke:#fff;stroke-width:1}.link{stroke:#5c6570;stroke-width:.7;stroke-opacity:.45}\
@media(prefers-color-scheme:dark){text{fill:#e3e7ec}.dim{fill:#9aa4af}.bad{fill:#ff7b72}\
.back{fill:#14181d}.floor{fill:#252c34}.grid{stroke:#323941}.phase0{fill:#28313b}\
.phase1{fill:#33404d}.shade{fill-opacity:.16}.fault{fill-opacity:.6}.stripe{stroke:#e0a63a}\
.written{stroke:#14181d}.link{stroke:#9aa4af}}";

/// A picture in the making.
pub(super) struct Svg {
    body: String,
}

impl Svg {
    pub(super) fn new() -> Svg {
        Svg { body: String::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// Puts something below what was drawn from `place` on.
    pub(super) fn insert(&mut self, place: usize, what: String) {
        self.body.insert_str(place, &what);
    }

    pub(super) fn into_body(self) -> String {
        self.body
    }

    pub(super) fn open(&mut self, class: &str) {
        self.push(format_args!("<g class=\"{class}\">\n"));
    }

    pub(super) fn open_fault(&mut self, number: usize) {
        self.push(format_args!("<g data-fault=\"{number}\">\n"));
    }

    pub(super) fn close(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// A box from its upper left corner; `title` is shown under the pointer.
    pub(super) fn rect(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        title: Option<&str>,
    ) {
        let (x, y, width, height) = (number(x), number(y), number(width), number(height));
        // A path says the same in fewer letters, and there are hundreds.
        self.push(format_args!(
            "<path class=\"{class}\" d=\"M{x} {y}h{width}v{height}h-{width}z\""
        ));
        match title {
            Some(title) => self.push(format_args!("><title>{}</title></path>\n", escaped(title))),
            None => self.body.push_str("/>\n"),
        }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (number(from.0), number(from.1), number(to.0), number(to.1));
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>\n"
        ));
    }

    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let (x, y, text) = (number(x), number(y), escaped(text));
        self.push(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>\n"));
    }

    /// The whole document.
    pub(super) fn finish(self, width: f64, height: f64, title: &str) -> String {
        let (width, height) = (width.ceil(), height.ceil());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n\
             <defs><pattern id=\"hatch\" width=\"5\" height=\"5\" \
             patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <line class=\"stripe\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"5\"/></pattern></defs>\n\
             <rect class=\"back\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
            escaped(title),
            self.body
        )
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.body.write_fmt(text);
    }
}

/// About how wide a label is. Too much rather than too little: labels must not touch.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.1
}

/// One decimal, and none where it is nought.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Text that XML allows and that means nothing to it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write these.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_text() {
        assert_eq!(
            escaped("<a href=\"x\">&\u{1}\u{ffff}ü"),
            "&lt;a href=&quot;x&quot;&gt;&amp;\u{fffd}\u{fffd}ü"
        );
        assert_eq!([0.0, 1.04, 12.5, -3.0].map(number), ["0", "1", "12.5", "-3"]);
    }
}
