//! Every reader against literal files, broken files and, for separated values, the `csv` crate.
//!
//! In: bytes of each format, whole, cut, packed or made up at random.
//! Out: cells and bad rows with their lines. Never looks at what cells mean.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use recmesh_contract::Silent;

use super::lines::Lines;
use super::records::{Found, Records};
use super::*;
use crate::BadRow;

/// Keeps cells as text; a row whose first cell is missing is bad.
#[derive(Default)]
struct Kept(Vec<Vec<String>>);

impl Sink for Kept {
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), String> {
        cells[0].id("first")?;
        let shown = |cell: &Cell<'_>| match cell {
            Cell::Missing => "-".to_owned(),
            Cell::List(list) => list.join("+"),
            cell => cell.text().unwrap().into_owned(),
        };
        self.0.push(cells.iter().map(shown).collect());
        Ok(())
    }
}

type Read1 = Result<(Vec<Vec<String>>, Vec<BadRow>), DataError>;

/// Reads bytes as a file of this name; bad rows are all allowed.
#[allow(clippy::unwrap_in_result)] // the result is what is tested; a temporary folder is not
fn read_as(name: &str, bytes: &[u8], format: &RowFormat, wanted: &[&str]) -> Read1 {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read_path(&path, format, wanted)
}

fn read_path(path: &Path, format: &RowFormat, wanted: &[&str]) -> Read1 {
    let mut kept = Kept::default();
    let mut bad = BadRows::default();
    let meter = Meter::new(&Silent, 0);
    let mut intake = Intake::new(path, &mut kept);
    rows(path, format, wanted, &meter, &mut intake)?;
    intake.end(path, 1.0, &mut bad)?;
    Ok((kept.0, bad.first))
}

fn delimited(separator: &str, header: bool) -> RowFormat {
    RowFormat::Delimited(Delimited { separator: separator.into(), header })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn strings(rows: &[&[&str]]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|&text| text.to_owned()).collect()).collect()
}

#[test]
fn every_format_gives_the_same_cells() {
    let expect = strings(&[&["u1", "7", "3.5"], &["u 2", "8", "-"]]);
    let wanted = ["user", "item", "stars"];
    let cases: [(&str, &[u8], RowFormat); 6] = [
        ("a.csv", b"item,user,stars,x\n7,u1,3.5,\n8,u 2,,1\n", delimited(",", true)),
        ("a.tsv", "\u{feff}user\titem\tstars\r\nu1\t7\t3.5\r\nu 2\t8\t\r\n\r\n".as_bytes(), delimited("\t", true)),
        ("q.csv", b"\"user\",\"item\" , stars\n\"u1\", 7 ,\"3.5\"\n\n\"u 2\",8,\"\"", delimited(",", true)),
        (
            "a.jsonl",
            b"{\"user\":\"u1\",\"item\":7,\"stars\":3.5}\n\n{\"item\":8,\"user\":\"u 2\"}",
            RowFormat::JsonLines,
        ),
        ("a.inter", b"stars:float\tuser:token\titem:token\n3.5\tu1\t7\n\tu 2\t8\n", RowFormat::RecBole),
        (
            "b.jsonl",
            b"{\"user\":\"u1\",\"item\":7,\"stars\":3.5}\r\n{\"item\":8,\"user\":\"u 2\",\"stars\":null}",
            RowFormat::JsonLines,
        ),
    ];
    for (name, bytes, format) in cases {
        let (rows, bad) = read_as(name, bytes, &format, &wanted).unwrap();
        assert_eq!((rows, bad), (expect.clone(), vec![]), "{name}");
        let (rows, _) = read_as(&format!("{name}.gz"), &gzip(bytes), &format, &wanted).unwrap();
        assert_eq!(rows, expect, "{name}.gz");
        // By content: no ending tells of the gzip stream.
        assert_eq!(read_as(name, &gzip(bytes), &format, &wanted).unwrap().0, expect, "{name}, packed");
    }
}

#[test]
fn sequences_are_a_row_an_item_and_a_line_without_items_is_bad() {
    let (rows, bad) = read_as("s.txt", b"1 10 11\r\n\n2\n 3  12\t13 ", &RowFormat::Sequences, &[]).unwrap();
    assert_eq!(rows, strings(&[&["1", "10"], &["1", "11"], &["3", "12"], &["3", "13"]]));
    assert_eq!((bad.len(), bad[0].line), (1, 3));
}

#[test]
fn a_json_map_is_a_row_an_entry() {
    let wanted = [MAP_ID, MAP_ATTRIBUTE];
    let (rows, bad) =
        read_as("m.json", b"{\"9\": [1, \"b\"], \"x\": [],\n \"n\": {\"a\": 1}}", &RowFormat::JsonMap, &wanted)
            .unwrap();
    assert_eq!(rows, strings(&[&["9", "1+b"], &["x", ""]]));
    assert_eq!((bad.len(), bad[0].line), (1, 3));
    let error = read_as("m.json", b"{\"9\": [1,\n2", &RowFormat::JsonMap, &wanted).unwrap_err().to_string();
    assert!(error.contains("m.json:2: column 1"), "{error}");
    let error = read_as("m.json", b"[1]", &RowFormat::JsonMap, &wanted).unwrap_err().to_string();
    assert!(error.contains("object of id to list"), "{error}");
}

#[test]
fn bad_rows_carry_their_line_and_reason() {
    let long = format!("a,b\n1,2\n{}\n3,4,5\n\"x\ny\",6\n,7\n\u{1},8\n", "z".repeat(lines::MAX_LINE + 1));
    let mut bytes = long.into_bytes();
    let at = bytes.iter().position(|&byte| byte == 1).unwrap();
    bytes[at] = 0xff;
    let (rows, bad) = read_as("b.csv", &bytes, &delimited(",", true), &["a", "b"]).unwrap();
    assert_eq!(rows, strings(&[&["1", "2"], &["x\ny", "6"]]));
    let found: Vec<_> = bad.iter().map(|row| (row.line, row.reason.as_str())).collect();
    assert_eq!(
        found,
        [
            (3, "the line is longer than 4194304 bytes"),
            (4, "it has 3 values instead of 2"),
            (7, "first is empty"),
            (8, "value 1 is not UTF-8"),
        ]
    );
    let (_, bad) = read_as("b.jsonl", b"{\"a\":1}\n{\"a\":\n[1]\n\xff\n", &RowFormat::JsonLines, &["a"]).unwrap();
    assert_eq!(bad.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 3, 4]);
    let (_, bad) = read_as("b.inter", b"a:token\tb:float\n1\t2\n1\n", &RowFormat::RecBole, &["a"]).unwrap();
    assert_eq!(bad.iter().map(|row| row.line).collect::<Vec<_>>(), [3]);
}

#[test]
fn an_unclosed_quote_is_an_error_and_not_a_swallowed_file() {
    let error = read_as("u.csv", b"a,b\n1,2\n3,\"4\n5,6\n", &delimited(",", true), &["a"]).unwrap_err().to_string();
    assert!(error.contains("u.csv:3: a quote opens here"), "{error}");
}

#[test]
fn a_missing_column_lists_those_there_are() {
    let cases: [(&str, &[u8], RowFormat); 4] = [
        ("a.csv", b"user,item\n1,2\n", delimited(",", true)),
        ("a.csv", b"u,v\n", delimited(",", false)),
        ("a.jsonl", b"{\"user\":1,\"item\":2}\n", RowFormat::JsonLines),
        ("a.inter", b"user:token\titem:token\n1\t2\n", RowFormat::RecBole),
    ];
    for (name, bytes, format) in cases {
        let error = read_as(name, bytes, &format, &["rating"]).unwrap_err();
        let DataError::MissingColumn { column, there, .. } = error else { panic!("{name}: {error}") };
        assert_eq!(column, "rating");
        let expect =
            if matches!(&format, RowFormat::Delimited(d) if !d.header) { ["0", "1"] } else { ["user", "item"] };
        assert_eq!(there, expect, "{name}");
    }
    let error = read_as("a.inter", b"user\titem\n1\t2\n", &RowFormat::RecBole, &["user"]).unwrap_err().to_string();
    assert!(error.contains("a.inter:1: column \"user\" has no type"), "{error}");
}

#[test]
fn files_without_rows_are_empty() {
    for (bytes, format) in [
        (b"".as_slice(), delimited(",", true)),
        (b"a,b\n", delimited(",", true)),
        (b"\n\n", delimited(",", false)),
        (b"", RowFormat::Sequences),
        (b"", RowFormat::JsonLines),
        (b"", RowFormat::RecBole),
        (b"a:token\n\n", RowFormat::RecBole),
    ] {
        let read = read_as("e", bytes, &format, &["a"]);
        assert!(matches!(read, Err(DataError::Empty { .. })), "{format:?}: {read:?}");
    }
}

#[test]
fn broken_gzip_streams_name_the_file() {
    let text: String = (0..20_000).map(|i| format!("{i},{}\n", i * 7919 % 10_007)).collect();
    let packed = gzip(text.as_bytes());
    let two = [gzip(b"1,2\n"), gzip(b"3,4\n")].concat();
    let both = read_as("two.csv.gz", &two, &delimited(",", false), &["0"]).unwrap();
    assert_eq!(both.0, strings(&[&["1"], &["3"]]));
    let cut = &packed[..packed.len() / 2];
    let error = read_as("cut.csv.gz", cut, &delimited(",", false), &["0"]).unwrap_err().to_string();
    assert!(error.contains("cut.csv.gz beyond line"), "{error}");
    let mut flipped = packed.clone();
    let end = flipped.len();
    flipped[end - 6] ^= 1;
    assert!(read_as("bad.csv.gz", &flipped, &delimited(",", false), &["0"]).is_err(), "the checksum must count");
    let error = read_as("plain.csv.gz", b"1,2\n", &delimited(",", false), &["0"]).unwrap_err().to_string();
    assert!(error.contains("plain.csv.gz") && error.contains("no gzip stream"), "{error}");
}

#[test]
fn parquet_columns_come_in_the_order_asked_for() {
    use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let schema = "message rows { required int64 item; optional binary user (UTF8); required double stars;
        optional group tags (LIST) { repeated group list { optional binary element (UTF8); } } }";
    let file = std::fs::File::create(&path).unwrap();
    let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(file, schema, Default::default()).unwrap();
    let text = |text: &str| ByteArray::from(text);
    for group in 0..2i64 {
        let mut rows = writer.next_row_group().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[7 + group * 10, 8 + group * 10], None, None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[text("u1")], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[0.5, 1.5], None, None).unwrap();
        column.close().unwrap();
        let mut column = rows.next_column().unwrap().unwrap();
        let tags = [text("a b"), text("c")];
        column.typed::<ByteArrayType>().write_batch(&tags, Some(&[3, 3, 0]), Some(&[0, 1, 0])).unwrap();
        column.close().unwrap();
        rows.close().unwrap();
    }
    writer.close().unwrap();

    let (rows, bad) = read_path(&path, &RowFormat::Parquet, &["user", "tags", "item"]).unwrap();
    assert_eq!(rows, strings(&[&["u1", "a b+c", "7"], &["u1", "a b+c", "17"]]));
    assert_eq!(bad.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4], "rows without a user");
    let error = read_path(&path, &RowFormat::Parquet, &["when"]).unwrap_err().to_string();
    assert!(error.contains("the columns are item, user, stars, tags"), "{error}");
    let bytes = std::fs::read(&path).unwrap();
    for end in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        let cut = read_as("cut.parquet", &bytes[..end], &RowFormat::Parquet, &["user"]);
        assert!(cut.unwrap_err().to_string().contains("cut.parquet"), "{end} bytes");
    }
    // The crate panics on some of these; here they are errors, or harmless.
    for at in (0..bytes.len()).step_by(11) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x15;
        let _ = read_as("flipped.parquet", &flipped, &RowFormat::Parquet, &["user", "tags", "item"]);
    }
}

/// Every record as text, and how reading ended.
fn records(bytes: &[u8], chunk: usize) -> (Vec<Vec<Vec<u8>>>, bool) {
    let mut reader = Records::new(BufReader::with_capacity(chunk, Cursor::new(bytes)), b',', 1 << 20);
    let mut rows = Vec::new();
    while let Some(found) = reader.next().unwrap() {
        if found != Found::Record {
            return (rows, false);
        }
        rows.push((0..reader.len()).map(|i| reader.field(i).0.to_vec()).collect());
    }
    (rows, true)
}

fn by_csv_crate(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let row = |record: Result<csv::ByteRecord, _>| record.unwrap().iter().map(<[u8]>::to_vec).collect();
    reader.byte_records().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_parts_as_the_csv_crate_parts_it(
        pieces in prop::collection::vec(prop::sample::select(vec!["a", "b", ",", ",", "\"", "\"", "\n", "\r\n", " "]), 0..40),
        chunk in 1usize..9,
    ) {
        let text = pieces.concat();
        let (rows, whole) = records(text.as_bytes(), chunk);
        let expect = by_csv_crate(text.as_bytes());
        // What an unclosed quote swallows is an error here and a record there.
        prop_assert_eq!(&rows[..], &expect[..if whole { expect.len() } else { rows.len() }]);
        prop_assert!(whole || text.matches('"').count() > 0);
    }

    #[test]
    fn whatever_is_quoted_comes_back(
        rows in prop::collection::vec(prop::collection::vec("[a-c,\"\r\n é]{0,6}", 2..4), 1..6),
        style in prop::sample::select(vec![csv::QuoteStyle::Always, csv::QuoteStyle::Necessary]),
        chunk in 1usize..9,
    ) {
        let mut writer = csv::WriterBuilder::new().flexible(true).quote_style(style).from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let expect: Vec<Vec<Vec<u8>>> =
            rows.iter().map(|row| row.iter().map(|field| field.clone().into_bytes()).collect()).collect();
        prop_assert_eq!(records(&bytes, chunk), (expect, true));
    }
}

/// Makes lines without end, up to a count, without keeping them.
struct Endless {
    line: Vec<u8>,
    at: usize,
    left: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let take = buffer.len().min(self.left).min(self.line.len() - self.at);
        buffer[..take].copy_from_slice(&self.line[self.at..self.at + take]);
        self.at = (self.at + take) % self.line.len();
        self.left -= take;
        Ok(take)
    }
}

#[test]
fn memory_does_not_grow_with_the_file() {
    const SIZE: usize = 20 << 20;
    // 20 MB of rows through gzip: the packed stream is small, what is unpacked is never held.
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let mut source = Endless { line: b"user,item,3.5,1700000000\n".to_vec(), at: 0, left: SIZE };
    std::io::copy(&mut source, &mut packed).unwrap();
    let packed = packed.finish().unwrap();
    let mut reader = Records::new(input::text(Cursor::new(packed), true).unwrap(), b',', 1 << 16);
    let mut rows = 0;
    while reader.next().unwrap() == Some(Found::Record) {
        rows += 1;
    }
    assert_eq!(rows, SIZE.div_ceil(25));
    assert!(reader.capacity() < 1024, "{} bytes", reader.capacity());

    // One line of 20 MB: skipped, and no more of it kept than the bound and one chunk.
    let endless = || Endless { line: b"x".to_vec(), at: 0, left: SIZE };
    let mut text = input::text(endless(), false).unwrap();
    assert!(text.fill_buf().unwrap().len() <= 64 * 1024);
    let mut lines = Lines::new(text, 1 << 16);
    assert!(matches!(lines.next(), Ok(Some((1, Err(_))))));
    assert!(lines.capacity() <= 2 << 16, "{} bytes", lines.capacity());
    let mut reader = Records::new(input::text(endless(), false).unwrap(), b',', 1 << 16);
    assert_eq!(reader.next().unwrap(), Some(Found::TooLong));
    assert!(reader.capacity() <= 2 << 16, "{} bytes", reader.capacity());

    // 20 MB of nothing but quotes: one quoted field of doubled quotes, bounded like any other.
    let quotes = Endless { line: b"\"".to_vec(), at: 0, left: SIZE };
    let mut reader = Records::new(input::text(quotes, false).unwrap(), b',', 1 << 16);
    assert_eq!(reader.next().unwrap(), Some(Found::Unclosed));
    assert!(reader.capacity() <= 2 << 16, "{} bytes", reader.capacity());
}
