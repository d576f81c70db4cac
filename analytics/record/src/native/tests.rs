use super::*;
use proptest::prelude::*;

fn texts(values: &[&str]) -> Texts {
    let mut texts = Texts::default();
    for value in values {
        texts.push(value);
    }
    texts
}

fn column(name: &str, ty: ColumnType, values: Values) -> Column {
    Column { name: name.to_owned(), ty, values }
}

fn sample() -> Block {
    let columns = vec![
        column("a", ColumnType::U8, Values::U8(vec![1, 2])),
        column("b", ColumnType::U16, Values::U16(vec![3, 400])),
        column("c", ColumnType::I16, Values::I16(vec![-1, 5])),
        column("d", ColumnType::U32, Values::U32(vec![6, 7])),
        column("e", ColumnType::U64, Values::U64(vec![8, u64::MAX])),
        column("f", ColumnType::TimeUs, Values::Time(vec![9, 10])),
        column("g", ColumnType::Uuid, Values::Uuid(vec![[1; 16], *b"0123456789abcdef"])),
        column("h", ColumnType::Bytes16, Values::Bytes16(vec![[2; 16], [3; 16]])),
        column("i", ColumnType::Text, Values::Text(texts(&["", "ü"]))),
        column("j", ColumnType::LowText, Values::Low(texts(&["x", "y"]), vec![1, 1])),
        column("k", ColumnType::ArrayU64, Values::Array(vec![0, 2], vec![11, 12])),
    ];
    Block { rows: 2, columns }
}

#[test]
fn comes_back_as_it_went() {
    let block = sample();
    let bytes = write_block(&block);
    assert_eq!(read_block(&bytes).unwrap(), block);
    assert_eq!(block.column("k").unwrap().numbers(1), Some(&[11, 12][..]));
    assert_eq!(block.column("j").unwrap().text(0), Some("y"));
    assert!(matches!(read_block(&bytes[..bytes.len() - 1]), Err(NativeError::Short(_))));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(read_block(&longer), Err(NativeError::Trailing(1)));
}

#[test]
fn the_layout_is_clickhouses() {
    let block = Block {
        rows: 1,
        columns: vec![
            column("u", ColumnType::Uuid, Values::Uuid(vec![*b"01234567abcdefgh"])),
            column("l", ColumnType::LowText, Values::Low(texts(&["v"]), vec![0])),
        ],
    };
    let mut expected = b"\x02\x01\x01u\x04UUID76543210hgfedcba\x01l\x16LowCardinality(String)".to_vec();
    expected.extend_from_slice(&1u64.to_le_bytes());
    expected.extend_from_slice(&0x600u64.to_le_bytes());
    expected.extend_from_slice(&1u64.to_le_bytes());
    expected.extend_from_slice(b"\x01v");
    expected.extend_from_slice(&1u64.to_le_bytes());
    expected.push(0);
    assert_eq!(write_block(&block), expected);
}

#[test]
fn wide_dictionaries_use_wide_indices() {
    for keys in [256usize, 257, 65_536, 65_537] {
        let mut dictionary = Texts::default();
        (0..keys).for_each(|key| dictionary.push(&key.to_string()));
        let values = Values::Low(dictionary, (0..keys as u32).rev().collect());
        let block = Block { rows: keys, columns: vec![column("l", ColumnType::LowText, values)] };
        assert_eq!(read_block(&write_block(&block)).unwrap(), block);
    }
}

#[test]
fn rows_without_columns_are_no_block() {
    assert_eq!(read_block(&[0, 0]).map(|block| block.rows), Ok(0));
    assert_eq!(read_block(&[0, 0x83, 0]), Err(NativeError::Bad("size")));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_block(&bytes);
    }

    #[test]
    fn damaged_blocks_never_panic(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6), cut in any::<usize>()) {
        let mut bytes = write_block(&sample());
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut % (bytes.len() + 1));
        if let Ok(block) = read_block(&bytes) {
            prop_assert!(block.columns.iter().all(|column| column.values.len() == block.rows));
        }
    }
}
