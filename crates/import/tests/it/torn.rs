//! A block of which something cannot be read, for ever or just now.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use import::{Importer, parca};
use parquet::basic::Encoding;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use store::objects::ObjectEntry;
use store::{Kind, MemoryObjects, Objects, StoreError, StoreOptions};

use super::{blocks, held, open, open_with};

/// Two pieces of a reader: the first ends behind 64 Ki rows.
const ROWS: usize = 100_000;
const GROUP_ROWS: usize = 10_000;

const TEXTS: [(&str, &str); 5] = [
    ("name", "process_cpu"),
    ("period_type", "cpu"),
    ("period_unit", "nanoseconds"),
    ("sample_type", "samples"),
    ("sample_unit", "count"),
];

/// A block whose rows have the value 1 and all the same stack, a thousand of them a profile.
fn block(properties: WriterPropertiesBuilder) -> Vec<u8> {
    let texts: String = TEXTS.iter().map(|(name, _)| format!("required binary {name} (UTF8); ")).collect();
    let schema = format!(
        "message parca {{ required int64 duration; required int64 period; required int64 timestamp; required int64 value;
         {texts} repeated binary stacktrace (UTF8); }}"
    );
    let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema.clone(), Arc::new(properties.build())).expect("a writer");
    for first in (0..ROWS).step_by(GROUP_ROWS) {
        let mut group = writer.next_row_group().expect("a row group");
        let mut names = schema.get_fields().iter().map(|field| field.name().to_owned());
        while let Some(mut column) = group.next_column().expect("a column") {
            let name = names.next().expect("a name");
            match column.untyped() {
                ColumnWriter::Int64ColumnWriter(column) => {
                    let number = |row: usize| match name.as_str() {
                        "timestamp" => 1_768_464_000_000 + row as i64 / 1_000 * 10_000,
                        "duration" => 10_000_000_000,
                        _ => 1,
                    };
                    let numbers: Vec<i64> = (first..first + GROUP_ROWS).map(number).collect();
                    column.write_batch(&numbers, None, None).expect("written");
                }
                ColumnWriter::ByteArrayColumnWriter(column) => {
                    let text = TEXTS.iter().find(|(of, _)| *of == name).map(|(_, text)| *text);
                    // an address, no lines and no mapping
                    let value = ByteArray::from(text.map_or(&[0x70, 0, 0][..], str::as_bytes).to_vec());
                    let levels = text.is_none().then_some((vec![1; GROUP_ROWS], vec![0; GROUP_ROWS]));
                    let (present, continues) = (levels.as_ref().map(|of| &*of.0), levels.as_ref().map(|of| &*of.1));
                    column.write_batch(&vec![value; GROUP_ROWS], present, continues).expect("written");
                }
                _ => panic!("a column {name} of another type"),
            }
            column.close().expect("closed");
        }
        group.close().expect("closed");
    }
    writer.into_inner().expect("written")
}

/// Where the values of a row group lie.
fn values_of(block: &[u8], group: usize) -> Range<usize> {
    let reader = SerializedFileReader::new(Bytes::from(block.to_vec())).expect("a block");
    let group = reader.metadata().row_group(group);
    let column = group.columns().iter().find(|column| column.column_path().string() == "value").expect("the column");
    let (start, bytes) = column.byte_range();
    start as usize..(start + bytes) as usize
}

fn bucket(block: &[u8]) -> MemoryObjects {
    let bucket = MemoryObjects::default();
    bucket.create(&format!("{}/01M84B9RZZZZZZZZZZZZZZZZZZ/data.parquet", parca::FOLDER), block).expect("created");
    bucket
}

/// A bucket that does not give some bytes of its objects just now.
struct Away<'b> {
    bucket: &'b MemoryObjects,
    bytes: Range<u64>,
}

impl Objects for Away<'_> {
    fn describe(&self, name: &str) -> String {
        self.bucket.describe(name)
    }

    fn create(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        panic!("an import never changes what it reads")
    }

    fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        self.bucket.get(name)
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.start < self.bytes.end && self.bytes.start < range.end {
            return Err(StoreError::new(Kind::Io, name, "the bucket does not answer"));
        }
        self.bucket.get_range(name, range)
    }

    fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        self.bucket.list(folder)
    }

    fn delete(&self, _: &str) -> Result<(), StoreError> {
        panic!("an import never changes what it reads")
    }
}

#[test]
fn a_block_of_which_an_import_left_something_out_is_never_called_whole() {
    let place = tempfile::tempdir().expect("a directory");
    let mut block = block(WriterProperties::builder());
    let torn = values_of(&block, 2);
    block[torn].fill(0xff);
    let bucket = bucket(&block);
    let store = open(&place.path().join("data"));
    for round in 0..3 {
        let report = blocks(Some(&store), &bucket);
        assert_eq!((report.read, report.known), if round == 0 { (1, 0) } else { (0, 1) }, "{report}");
        assert!(!report.is_whole(), "{report}");
        let [left_out] = &report.left_out[..] else { panic!("{report}") };
        assert_eq!(left_out.rows, Some(GROUP_ROWS as u64), "{report}");
        assert!(left_out.reason.starts_with("row group 2: "), "{report}");
    }
    assert_eq!(held(&store).1, (ROWS - GROUP_ROWS) as i128);
}

#[test]
fn what_is_left_out_is_told_by_the_import_that_goes_on_behind_it() {
    let place = tempfile::tempdir().expect("a directory");
    let mut block = block(WriterProperties::builder());
    let torn = values_of(&block, 2);
    block[torn].fill(0xff);
    let bucket = bucket(&block);
    // each piece is committed
    let options = StoreOptions { head_cut_bytes: 1, ..StoreOptions::default() };
    let store = open_with(options, &place.path().join("data"));
    let away = values_of(&block, 9);
    let away = Away { bucket: &bucket, bytes: away.start as u64..away.end as u64 };
    let found = parca::find(&away).expect("a listing");
    let mut importer = Importer::new(Some(&store), |_| {});
    importer.blocks(&away, &found).expect("imported");
    // it ends without a report, as where the store fails
    drop(importer);
    let before = held(&store).1;
    assert!(before > 0 && before < (ROWS - GROUP_ROWS) as i128, "{before}");

    let report = blocks(Some(&store), &away);
    let left = (ROWS - GROUP_ROWS) as i128 - before;
    assert_eq!(report.left_out[0].rows, Some(GROUP_ROWS as u64 + left as u64), "{report}");
    assert!(report.left_out[0].reason.contains("does not answer"), "{report}");

    let report = blocks(Some(&store), &bucket);
    assert_eq!((report.read, report.known, report.samples()), (1, 0, left as u64), "{report}");
    let [left_out] = &report.left_out[..] else { panic!("{report}") };
    assert_eq!(left_out.rows, Some(GROUP_ROWS as u64), "{report}");
    assert!(left_out.reason.starts_with("row group 2: "), "{report}");
    assert_eq!(held(&store).1, (ROWS - GROUP_ROWS) as i128);
}

/// Row groups are restored one after another, and each import brings in what is sound by then.
#[test]
fn what_was_left_out_of_a_block_comes_in_once_it_is_restored() {
    let place = tempfile::tempdir().expect("a directory");
    let whole = block(WriterProperties::builder());
    let torn = |groups: &[usize]| {
        let mut block = whole.clone();
        for group in groups {
            let values = values_of(&block, *group);
            block[values].fill(0xff);
        }
        bucket(&block)
    };
    // each row's value is 1
    let group = GROUP_ROWS as i128;
    for head_cut_bytes in [1, StoreOptions::default().head_cut_bytes] {
        let options = StoreOptions { head_cut_bytes, ..StoreOptions::default() };
        let store = open_with(options, &place.path().join(format!("data-{head_cut_bytes}")));
        for (broken, read) in [(&[2, 3, 7][..], 1), (&[2, 3, 7], 0), (&[3, 7], 1), (&[3], 1), (&[], 1), (&[], 0)] {
            let report = blocks(Some(&store), &torn(broken));
            assert_eq!((report.read, report.known), (read, 1 - read), "{broken:?}: {report}");
            let left_out = report.left_out.first().map_or(0, |left_out| left_out.rows.expect("a number"));
            let missing = broken.len() as i128 * group;
            assert_eq!(i128::from(left_out), missing, "{broken:?}: {report}");
            assert_eq!(report.is_whole(), broken.is_empty(), "{broken:?}: {report}");
            assert_eq!(held(&store).1, ROWS as i128 - missing, "{broken:?}: {report}");
        }
        // what is restored is remembered as the rest is: another start brings in nothing twice
        drop(store);
        let store = open(&place.path().join(format!("data-{head_cut_bytes}")));
        let report = blocks(Some(&store), &torn(&[]));
        assert_eq!((report.read, report.known, report.samples()), (0, 1, 0), "{report}");
        assert_eq!(held(&store).1, ROWS as i128);
    }
}

#[test]
fn a_block_that_a_later_version_may_know_is_tried_again() {
    let place = tempfile::tempdir().expect("a directory");
    let stacks = || ColumnPath::from("stacktrace");
    let properties = WriterProperties::builder()
        .set_column_dictionary_enabled(stacks(), false)
        .set_column_encoding(stacks(), Encoding::DELTA_LENGTH_BYTE_ARRAY);
    let bucket = bucket(&block(properties));
    let store = open(&place.path().join("data"));
    for _ in 0..2 {
        let report = blocks(Some(&store), &bucket);
        assert_eq!((report.read, report.known, report.samples()), (0, 0, 0), "{report}");
        assert_eq!(report.left_out[0].rows, Some(ROWS as u64), "{report}");
        assert!(report.left_out[0].reason.contains("encoded in a way that Parca does not use"), "{report}");
    }
}
