use super::*;
use proptest::prelude::*;

fn kind(sql: &str) -> Statement<'_> {
    Statement::read(sql).unwrap()
}

fn insert_of<'sql>(head: &'sql str, format: &'sql str, inline: &'sql str) -> Statement<'sql> {
    Statement::Insert { head, format, inline }
}

#[test]
fn inserts_are_cut_at_their_data() {
    assert_eq!(kind("INSERT INTO t(`a`) FORMAT RowBinary"), insert_of("INSERT INTO t(`a`)", "RowBinary", ""));
    assert_eq!(kind("insert into t values (1), (2)"), insert_of("insert into t", "Values", "(1), (2)"));
    assert_eq!(
        kind("INSERT INTO t SETTINGS a = 'FORMAT x' FORMAT CSV\n1,2\n\nDROP TABLE t"),
        insert_of("INSERT INTO t SETTINGS a = 'FORMAT x'", "CSV", "1,2\n\nDROP TABLE t")
    );
    assert_eq!(kind("INSERT INTO values VALUES (1)"), insert_of("INSERT INTO values", "Values", "(1)"));
    assert_eq!(kind("INSERT INTO d.format FORMAT Native;"), insert_of("INSERT INTO d.format", "Native", ""));
    assert_eq!(
        kind("INSERT INTO t (format, values) VALUES (1, 2)"),
        insert_of("INSERT INTO t (format, values)", "Values", "(1, 2)")
    );
    assert_eq!(
        kind("-- x\nINSERT /* VALUES */ INTO t FORMAT TSV"),
        insert_of("-- x\nINSERT /* VALUES */ INTO t", "TSV", "")
    );
}

#[test]
fn inserts_without_data_are_commands() {
    for sql in [
        "INSERT INTO t SELECT 1",
        "INSERT INTO t WITH 1 AS x SELECT x",
        "INSERT INTO t (a) SELECT values FROM u FORMAT CSV",
    ] {
        assert_eq!(kind(sql), Statement::Command { reads: false }, "{sql}");
    }
}

#[test]
fn selects_tell_their_format() {
    assert_eq!(kind("SELECT 1"), Statement::Rows { format: None });
    assert_eq!(kind("(SELECT 1) UNION ALL SELECT 2 FORMAT JSON;"), Statement::Rows { format: Some("JSON") });
    assert_eq!(
        kind("WITH 1 AS format SELECT format FORMAT CSV SETTINGS max_threads = 1"),
        Statement::Rows { format: Some("CSV") }
    );
    assert_eq!(kind("SELECT 'FORMAT JSON' -- FORMAT XML"), Statement::Rows { format: None });
    assert_eq!(kind("SELECT format FROM t"), Statement::Rows { format: None });
    assert_eq!(kind("SHOW TABLES"), Statement::Command { reads: true });
    assert_eq!(kind("DROP TABLE t"), Statement::Command { reads: false });
    assert_eq!(kind(""), Statement::Command { reads: false });
}

#[test]
fn words_that_reach_files_are_refused() {
    for sql in [
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SHOW TABLES INTO/**/outfile '/tmp/x'",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
        "INSERT INTO t SELECT 1 FROM INFILE 'x'",
    ] {
        assert_eq!(Statement::read(sql).unwrap_err().code(), code::ACCESS_DENIED, "{sql}");
    }
    kind("SELECT 'into outfile', `infile` FROM t");
}

#[test]
fn the_engines_judgement_is_kept_but_for_harmless_controls() {
    let admits = |class, sql, writable| admit(Analysis { statements: 1, class }, sql, writable).is_ok();
    assert!(admits(Class::Reads, "SELECT 1", false));
    assert!(admits(Class::Writes, "DROP TABLE t", true) && !admits(Class::Writes, "DROP TABLE t", false));
    assert!(!admits(Class::Unknown, "", true));
    for (sql, admitted) in [
        ("KILL QUERY WHERE 1", true),
        ("INSERT INTO t SETTINGS async_insert = 0 FORMAT Native", true),
        ("INSERT INTO FUNCTION file('x') FORMAT CSV", false),
        ("INSERT INTO TABLE FUNCTION file('x') FORMAT CSV", false),
        ("INSERT/**/INTO -- x\nfunction file('x') FORMAT CSV", false),
        ("SELECT 1 INTO OUTFILE 'x'", false),
        ("BACKUP TABLE t TO Disk('d', 'x')", false),
    ] {
        assert_eq!(admits(Class::Controls, sql, true), admitted, "{sql}");
        assert!(!admits(Class::Controls, sql, false), "{sql}");
    }
    let two = Analysis { statements: 2, class: Class::Reads };
    assert_eq!(admit(two, "SELECT 1; SELECT 2", true).unwrap_err().code(), code::SYNTAX_ERROR);
}

#[test]
fn quoting_leaves_no_way_out() {
    assert_eq!(quote_literal(r"a'b\"), r"'a\'b\\'");
    assert_eq!(quote_name("a`b"), r"`a\`b`");
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(sql in "(insert into |select |\\PC|['\"`$/*#;()\\\\\n-]| values| format ){0,24}") {
        let _ = Statement::read(&sql);
    }

    #[test]
    fn a_quoted_literal_is_one_token(text in "\\PC*") {
        let quoted = quote_literal(&text);
        let all: Vec<_> = tokens(&quoted).map(|token| token.text.to_owned()).collect();
        prop_assert_eq!(all, vec![quoted.clone()]);
    }

    #[test]
    fn tokens_cover_the_text_in_order(sql in "\\PC{0,80}") {
        let mut at = 0;
        for token in tokens(&sql) {
            prop_assert!(token.start >= at && token.end > token.start);
            at = token.end;
        }
    }
}
