use arrow::array::cast::AsArray;
use arrow::datatypes::DataType;
use arrow::ipc::reader::StreamReader;

use query::report::LabelColumn;

use super::*;

fn column_text(names: &[Option<&str>]) -> TextColumn {
    let mut column = TextColumn::default();
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        let key = name.map(|name| match distinct.iter().position(|have| *have == name) {
            Some(at) => at as i32,
            None => {
                distinct.push(name);
                column.dictionary.values.extend_from_slice(name.as_bytes());
                column.dictionary.offsets.push(column.dictionary.values.len() as i32);
                (distinct.len() - 1) as i32
            }
        });
        column.keys.push(key.unwrap_or(-1));
    }
    column
}

fn column<T: Default>(values: Vec<Option<T>>) -> Column<T> {
    let mut column = Column::default();
    values.into_iter().for_each(|value| column.push(value));
    column
}

fn graph() -> FlameGraph {
    let frames = FrameColumns {
        location_address: column(vec![None, Some(0x1000), Some(u64::MAX)]),
        mapping_file: column_text(&[None, Some("/bin/x"), Some("/bin/x")]),
        mapping_build_id: column_text(&[None, Some("ab"), None]),
        location_line: column(vec![None, Some(3), Some(70_000)]),
        function_startline: column(vec![None, None, None]),
        function_name: column_text(&[None, Some("main"), Some("größe")]),
        function_system_name: column_text(&[None, None, None]),
        function_file_name: column_text(&[None, None, None]),
    };
    FlameGraph {
        unit: "nanoseconds".into(),
        height: 3,
        trimmed: 0,
        labels_only: vec![false; 3],
        frames,
        inlined: column(vec![None, Some(false), Some(true)]),
        parent: vec![-1, 0, 1],
        children: Lists { offsets: vec![0, 1, 2, 2], items: vec![1, 2] },
        cumulative: vec![300, 300, 100],
        flat: vec![0, 200, 100],
        diff: vec![0, -40_000, 5],
        depth: vec![0, 1, 2],
        value_offset: vec![0, 0, 0],
        timestamp: Vec::new(),
        labels: Vec::new(),
    }
}

fn read(bytes: &[u8]) -> RecordBatch {
    let mut reader = StreamReader::try_new(bytes, None).expect("a stream");
    let batch = reader.next().expect("one batch").expect("that can be read");
    assert!(reader.next().is_none(), "and no second");
    batch
}

#[test]
fn a_flame_graph_has_the_columns_and_types_that_grafana_asserts() {
    let batch = read(&flame_graph(graph()).expect("it can be written"));
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        names,
        [
            "labels_only",
            "location_address",
            "mapping_file",
            "mapping_build_id",
            "location_line",
            "inlined",
            "function_startline",
            "function_name",
            "function_system_name",
            "function_file_name",
            "children",
            "parent",
            "cumulative",
            "flat",
            "diff",
            "timestamp",
            "depth",
            "value_offset"
        ]
    );
    let data_type = |name: &str| batch.column_by_name(name).expect("a column").data_type().clone();
    let binary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary));
    assert_eq!(data_type("function_name"), binary);
    assert_eq!(data_type("mapping_file"), binary);
    assert_eq!(data_type("location_address"), DataType::UInt64);
    assert_eq!(data_type("cumulative"), DataType::UInt16);
    assert_eq!(data_type("location_line"), DataType::UInt32);
    assert_eq!(data_type("diff"), DataType::Int32);
    assert!(matches!(data_type("children"), DataType::List(item) if *item.data_type() == DataType::UInt32));
}

#[test]
fn a_flame_graph_reads_back_as_it_was() {
    let batch = read(&flame_graph(graph()).expect("it can be written"));
    let of = |name: &str| batch.column_by_name(name).expect("a column");
    let names = of("function_name").as_dictionary::<Int32Type>();
    let values = names.values().as_binary::<i32>();
    assert!(names.is_null(0));
    assert_eq!(values.value(names.keys().value(2) as usize), "größe".as_bytes());
    assert_eq!(of("location_address").as_primitive::<UInt64Type>().value(2), u64::MAX);
    assert!(of("location_address").is_null(0));
    assert_eq!(of("diff").as_primitive::<Int32Type>().values(), &[0, -40_000, 5]);
    let children = of("children").as_list::<i32>();
    assert_eq!(children.value(0).as_primitive::<UInt32Type>().values(), &[1]);
    assert_eq!(children.value(2).len(), 0);
    assert_eq!(of("timestamp").as_primitive::<Int64Type>().values(), &[0, 0, 0], "a graph has no times");
}

#[test]
fn an_empty_graph_is_still_one_batch_with_its_root() {
    let mut root = FlameGraph { parent: vec![-1], depth: vec![0], value_offset: vec![0], ..FlameGraph::default() };
    root.labels_only = vec![false];
    root.cumulative = vec![0];
    root.flat = vec![0];
    root.diff = vec![0];
    root.inlined.push(None);
    root.children.offsets.push(0);
    let frames = &mut root.frames;
    frames.location_address.push(None);
    frames.location_line.push(None);
    frames.function_startline.push(None);
    for text in [
        &mut frames.mapping_file,
        &mut frames.mapping_build_id,
        &mut frames.function_name,
        &mut frames.function_system_name,
        &mut frames.function_file_name,
    ] {
        text.keys.push(-1);
    }
    assert_eq!(read(&flame_graph(root).expect("it can be written")).num_rows(), 1);
    assert_eq!(read(&table(Table::default()).expect("it can be written")).num_rows(), 0);
}

#[test]
fn integers_are_as_narrow_as_they_can_be_and_never_wrap() {
    let unsigned_type = |max: i64| unsigned(vec![0, max], None).data_type().clone();
    assert_eq!(unsigned_type(255), DataType::UInt8);
    assert_eq!(unsigned_type(256), DataType::UInt16);
    assert_eq!(unsigned_type(65_536), DataType::UInt32);
    assert_eq!(unsigned_type(i64::MAX), DataType::UInt64);
    let signed_type = |value: i64| signed(vec![value]).data_type().clone();
    assert_eq!(signed_type(-128), DataType::Int8);
    assert_eq!(signed_type(-129), DataType::Int16);
    assert_eq!(signed_type(-250_583), DataType::Int32);
    assert_eq!(signed_type(i64::MIN), DataType::Int64);
    assert_eq!(signed_or_unsigned(vec![-1, 200]).data_type(), &DataType::Int16);
    assert_eq!(signed_or_unsigned(vec![1, 200]).data_type(), &DataType::UInt8);
}

#[test]
fn names_that_are_not_utf8_are_replaced_in_a_table_and_kept_in_a_graph() {
    let mut broken = column_text(&[Some("ok"), Some("xx")]);
    broken.dictionary.values[2] = 0xff;
    let shown = text(broken.clone()).expect("it can be written");
    assert_eq!(shown.as_dictionary::<Int32Type>().values().as_string::<i32>().value(1), "\u{fffd}x");
    let kept = bytes(broken).expect("it can be written");
    assert_eq!(kept.as_dictionary::<Int32Type>().values().as_binary::<i32>().value(1), b"\xffx");
}

#[test]
fn a_chart_carries_the_times_of_its_rows() {
    let timestamp = vec![0, 1_768_485_600_000_000_777, -1];
    let batch = read(&super::flame_graph(FlameGraph { timestamp: timestamp.clone(), ..graph() }).expect("a stream"));
    let times = batch.column_by_name("timestamp").expect("a column").as_primitive::<Int64Type>();
    assert_eq!(times.values(), timestamp.as_slice());
}

#[test]
fn labels_follow_the_other_columns_in_the_order_in_which_they_were_asked_for() {
    let label = |name: &str, values| LabelColumn { name: name.to_owned(), values };
    let labels = vec![
        label("zone", column_text(&[None, Some("eu"), Some("eu")])),
        label("job", column_text(&[None, None, None])),
    ];
    let grouped = FlameGraph { labels_only: vec![false, true, false], labels, ..graph() };
    let batch = read(&super::flame_graph(grouped).expect("a stream"));
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names[16..], ["depth", "value_offset", "labels.zone", "labels.job"]);
    let labels_only = batch.column(0).as_boolean();
    assert_eq!([0, 1, 2].map(|row| labels_only.value(row)), [false, true, false]);
    let zones = batch.column(18).as_dictionary::<Int32Type>();
    assert!(zones.is_null(0));
    assert_eq!(zones.values().as_binary::<i32>().value(zones.keys().value(2) as usize), b"eu");
    assert_eq!(batch.column(19).null_count(), 3);
}

#[test]
fn values_per_line_have_the_columns_that_parcas_screen_reads() {
    let mut filename = TextColumn { keys: vec![0, 0], ..TextColumn::default() };
    filename.dictionary.values = b"/src/a.go".to_vec();
    filename.dictionary.offsets = vec![0, 9];
    let lines = SourceLines {
        unit: "bytes".into(),
        filename,
        line: vec![3, 70_000],
        cumulative: vec![5, -1],
        flat: vec![0, 2],
    };
    let batch = read(&super::source(lines).expect("a stream"));
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["filename", "line_number", "cumulative", "flat"]);
    let numbers =
        |name: &str| batch.column_by_name(name).expect("a column").as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(numbers("line_number"), [3, 70_000]);
    assert_eq!((numbers("cumulative"), numbers("flat")), (vec![5, -1], vec![0, 2]));
    let files = batch.column_by_name("filename").expect("a column").as_dictionary::<Int32Type>();
    assert_eq!(files.values().as_string::<i32>().value(files.keys().value(1) as usize), "/src/a.go");
}
