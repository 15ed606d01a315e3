//! The page: one file with everything in it, which asks no network and runs from `file://`.

use std::io::{self, Write};

use super::page_data::{self, REQUESTS_MAX};
use crate::trace::tools::picture::Picture;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In the order in which they build on each other.
const SCRIPTS: [&str; 12] = [
    include_str!("page/data.js"),
    include_str!("page/filter.js"),
    include_str!("page/summary.js"),
    include_str!("page/axis.js"),
    include_str!("page/lanes.js"),
    include_str!("page/picture.js"),
    include_str!("page/bands.js"),
    include_str!("page/crowd.js"),
    include_str!("page/table.js"),
    include_str!("page/panel.js"),
    include_str!("page/page.js"),
    include_str!("page/selftest.js"),
];

/// Writes the page.
///
/// At most 20,000 requests are put in, those that failed first, then the slowest; the page says how
/// many are left out.
pub fn html(picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    bounded(picture, REQUESTS_MAX, out)
}

fn bounded(picture: &Picture, most: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut rest = PAGE;
    while let Some((before, behind)) = rest.split_once("<!--put ") {
        out.write_all(before.as_bytes())?;
        let (what, behind) = behind.split_once("-->").unwrap_or((behind, ""));
        match what {
            "style" => out.write_all(STYLE.as_bytes())?,
            "data" => page_data::write(picture, most, out)?,
            "script" => {
                for script in SCRIPTS {
                    out.write_all(script.as_bytes())?;
                }
            }
            other => debug_assert!(false, "nothing is called {other}"),
        }
        rest = behind;
    }
    out.write_all(rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use serde_json::Value;

    fn page(picture: &Picture, most: usize) -> String {
        let mut out = Vec::new();
        bounded(picture, most, &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    fn data(page: &str) -> Value {
        let (_, data) = page.split_once("type=\"application/json\">").expect("data");
        let (data, _) = data.split_once("</script>").expect("its end");
        serde_json::from_str(data).expect("valid JSON")
    }

    #[test]
    fn a_page_holds_every_request_once_with_both_ends() {
        let picture = fixtures::two_nodes(200);
        let data = data(&page(&picture, REQUESTS_MAX));
        let lives: usize = picture.nodes.iter().map(|node| node.model.lives.len()).sum();
        let rows = data["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), lives - picture.pairs.len());
        assert_eq!(rows.iter().filter(|row| !row[13].is_null()).count(), picture.pairs.len());
        for row in rows {
            let waits = row[16].as_array().expect("waits");
            let total: i64 =
                waits.chunks(5).map(|wait| wait[1].as_i64().unwrap() - wait[0].as_i64().unwrap()).sum();
            assert_eq!(total, row[9].as_i64().unwrap() - row[8].as_i64().unwrap(), "{row}");
        }
    }

    #[test]
    fn what_is_left_out_is_neither_failed_nor_slow() {
        let picture = fixtures::two_nodes(200);
        let all = data(&page(&picture, REQUESTS_MAX));
        let some = data(&page(&picture, 40));
        assert_eq!(some["total"], all["total"]);
        let rows = some["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 40);
        let ok = |data: &Value, row: &Value| data["words"][row[7].as_u64().unwrap() as usize] == "ok";
        let failed =
            |data: &Value| data["rows"].as_array().unwrap().iter().filter(|row| !ok(data, row)).count();
        assert!(failed(&all) > 0 && failed(&all) < 40);
        assert_eq!(failed(&some), failed(&all));
    }

    #[test]
    fn no_word_of_a_peer_ends_the_script_or_the_page() {
        let words = "</script><img src=x onerror=alert(1)>\u{2028}<!--put script-->\u{202e}\"'&\n\u{1b}[2J";
        let page = page(&fixtures::with_words(20, words), REQUESTS_MAX);
        assert!(!page.contains("<img"));
        assert!(!page.contains(['\u{2028}', '\u{202e}', '\u{1b}']));
        assert_eq!(page.matches("<script").count(), 2);
        let data = data(&page);
        assert_eq!(data["nodes"][0]["name"], words);
    }
}
