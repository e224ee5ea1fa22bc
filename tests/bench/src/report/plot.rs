//! A picture of bars, in SVG, which is legible on a light page and on a dark one.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
/// Where bars begin: to the left of it stand names.
const LEFT: f64 = 110.0;
/// What is kept free to the right for the figure behind the longest bar.
const RIGHT: f64 = 130.0;
const TOP: f64 = 56.0;
const TITLE_HEIGHT: f64 = 30.0;
const BAR_HEIGHT: f64 = 18.0;
const GAP: f64 = 14.0;

const STYLE: &str = "text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } .quiet { fill: #59636e } \
                     .bar { fill: #9aa4af } .ours { fill: #1f6feb } .one { stroke: #59636e; stroke-dasharray: 3 3 } \
                     @media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .quiet { fill: #9198a1 } .bar { fill: #5b6570 } \
                     .ours { fill: #4493f8 } .one { stroke: #9198a1 } }";

/// Bars that are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub title: String,
    pub bars: Vec<Bar>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    pub name: &'static str,
    /// Its length.
    pub ratio: f64,
    /// What stands behind it.
    pub figure: String,
    /// Whether it is the one that the picture is about.
    pub ours: bool,
}

/// Draws the groups one below the other, on one scale, with a line at 1.
pub fn draw(title: &str, groups: &[Group]) -> String {
    let longest = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.ratio).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let height = groups.iter().map(|group| TITLE_HEIGHT + BAR_HEIGHT * group.bars.len() as f64 + GAP).sum::<f64>() + TOP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<text class=\"title\" x=\"0\" y=\"18\">{title}</text>\n"
    );
    let one = LEFT + scale;
    // Writing into a string does not fail.
    let _ = writeln!(svg, "<text class=\"quiet\" x=\"{one:.1}\" y=\"44\" text-anchor=\"middle\">floor = 1</text>");
    let mut y = TOP;
    for group in groups {
        let _ = writeln!(svg, "<text class=\"title\" x=\"0\" y=\"{:.1}\">{}</text>", y + 18.0, group.title);
        y += TITLE_HEIGHT;
        let end = y + BAR_HEIGHT * group.bars.len() as f64;
        let _ = writeln!(svg, "<line class=\"one\" x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{y:.1}\" y2=\"{end:.1}\"/>");
        for Bar { name, ratio, figure, ours } in &group.bars {
            let (width, class) = (ratio * scale, if *ours { "ours" } else { "bar" });
            let (middle, inner) = (y + 13.0, BAR_HEIGHT - 4.0);
            let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{inner}\" rx=\"2\"/>",
                y + 2.0
            );
            // To the right of the line, too, so that it is not crossed out.
            let behind = LEFT + width.max(scale) + 6.0;
            let _ = writeln!(svg, "<text class=\"quiet\" x=\"{behind:.1}\" y=\"{middle:.1}\">{figure}</text>");
            y += BAR_HEIGHT;
        }
        y += GAP;
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_ends_where_its_figure_begins() {
        let bar = |name, ratio| Bar { name, ratio, figure: format!("{ratio} ×"), ours: name == "b" };
        let svg = draw("Title", &[Group { title: "Group".to_owned(), bars: vec![bar("a", 2.0), bar("b", 4.0)] }]);
        assert!(svg.contains(r#"<rect class="bar" x="110" y="88.0" width="240.0""#), "{svg}");
        assert!(svg.contains(r#"<rect class="ours" x="110" y="106.0" width="480.0""#), "{svg}");
        assert!(svg.contains(r#"x="596.0" y="117.0">4 ×</text>"#), "{svg}");
        assert!(svg.contains(r#"<line class="one" x1="230.0""#), "{svg}");
        let short = draw("Title", &[Group { title: "Group".to_owned(), bars: vec![bar("a", 0.5)] }]);
        assert!(short.contains(r#"width="240.0""#) && short.contains(r#"x="596.0""#), "{short}");
    }
}
