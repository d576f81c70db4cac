// Speaks to Turnpike's ClickHouse endpoint as Grafana's ClickHouse plug-in does: clickhouse-go over HTTP.
//
// Usage: clickhouse-go ADDRESS PASSWORD. Prints "ok COMPRESSION" for each compression that passed; exits 1 at the first fault.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"reflect"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const (
	batchRows  = 5000
	streamRows = 1_000_000
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: clickhouse-go ADDRESS PASSWORD")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for name, method := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone,
		"lz4":  clickhouse.CompressionLZ4,
		"gzip": clickhouse.CompressionGZIP,
	} {
		if err := check(ctx, os.Args[1], os.Args[2], name, method); err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		fmt.Println("ok " + name)
	}
}

func check(ctx context.Context, address, password, name string, method clickhouse.CompressionMethod) error {
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr:        []string{address},
		Protocol:    clickhouse.HTTP,
		Auth:        clickhouse.Auth{Database: "default", Username: "default", Password: password},
		Compression: &clickhouse.Compression{Method: method, Level: 1},
		Settings:    clickhouse.Settings{"max_execution_time": 60},
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	table := "visits_" + name
	for _, step := range []struct {
		what string
		run  func(context.Context, driver.Conn, string) error
	}{
		{"ping", func(ctx context.Context, conn driver.Conn, _ string) error { return conn.Ping(ctx) }},
		{"insert", insert},
		{"read back", readBack},
		{"parameters", parameters},
		{"grouped", grouped},
		{"stream", stream},
		{"errors", faults},
	} {
		if err := step.run(ctx, conn, table); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

type row struct {
	At     time.Time
	Route  string
	Tags   []string
	Labels map[string]string
	Status *uint16
}

func rowAt(index int) row {
	made := row{
		At:     time.UnixMilli(1_700_000_000_000 + int64(index)).UTC(),
		Route:  fmt.Sprintf("route-%d", index%5),
		Tags:   []string{"a", fmt.Sprint(index % 3)},
		Labels: map[string]string{"zone": fmt.Sprint(index % 2)},
	}
	if index%2 == 0 {
		status := uint16(200)
		made.Status = &status
	}
	return made
}

func insert(ctx context.Context, conn driver.Conn, table string) error {
	err := conn.Exec(ctx, "CREATE TABLE "+table+` (at DateTime64(3, 'UTC'), route LowCardinality(String), tags Array(String),
		labels Map(String, String), status Nullable(UInt16)) ENGINE = MergeTree ORDER BY at`)
	if err != nil {
		return err
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table)
	if err != nil {
		return err
	}
	for index := range batchRows {
		made := rowAt(index)
		if err := batch.Append(made.At, made.Route, made.Tags, made.Labels, made.Status); err != nil {
			return err
		}
	}
	return batch.Send()
}

func readBack(ctx context.Context, conn driver.Conn, table string) error {
	rows, err := conn.Query(ctx, "SELECT at, route, tags, labels, status FROM "+table+" ORDER BY at")
	if err != nil {
		return err
	}
	defer rows.Close()
	index := 0
	for ; rows.Next(); index++ {
		var read row
		if err := rows.Scan(&read.At, &read.Route, &read.Tags, &read.Labels, &read.Status); err != nil {
			return err
		}
		if want := rowAt(index); !reflect.DeepEqual(read, want) {
			return fmt.Errorf("row %d is %+v, not %+v", index, read, want)
		}
	}
	if index != batchRows {
		return fmt.Errorf("%d rows instead of %d", index, batchRows)
	}
	return rows.Err()
}

func parameters(ctx context.Context, conn driver.Conn, table string) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"route": "route-1"}))
	var count uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM "+table+" WHERE route = {route:String}").Scan(&count); err != nil {
		return err
	}
	if count != batchRows/5 {
		return fmt.Errorf("%d rows instead of %d", count, batchRows/5)
	}
	return nil
}

func grouped(ctx context.Context, conn driver.Conn, table string) error {
	rows, err := conn.Query(ctx, `SELECT toStartOfSecond(at) AS time, route, count() AS requests, quantile(0.5)(coalesce(status, 0)) AS middle
		FROM `+table+` GROUP BY time, route ORDER BY time, route`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var total uint64
	for rows.Next() {
		var (
			at       time.Time
			route    string
			requests uint64
			middle   float64
		)
		if err := rows.Scan(&at, &route, &requests, &middle); err != nil {
			return err
		}
		total += requests
	}
	if total != batchRows {
		return fmt.Errorf("groups add up to %d instead of %d", total, batchRows)
	}
	return rows.Err()
}

func stream(ctx context.Context, conn driver.Conn, _ string) error {
	rows, err := conn.Query(ctx, fmt.Sprintf("SELECT number FROM numbers(%d)", streamRows))
	if err != nil {
		return err
	}
	defer rows.Close()
	var next uint64
	for ; rows.Next(); next++ {
		var number uint64
		if err := rows.Scan(&number); err != nil {
			return err
		}
		if number != next {
			return fmt.Errorf("%d after %d rows", number, next)
		}
	}
	if next != streamRows {
		return fmt.Errorf("%d rows instead of %d", next, streamRows)
	}
	return rows.Err()
}

func faults(ctx context.Context, conn driver.Conn, _ string) error {
	var exception *clickhouse.Exception
	err := conn.Exec(ctx, "DROP TABLE nowhere")
	if !errors.As(err, &exception) || exception.Code != 60 {
		return fmt.Errorf("dropping an absent table gave %v", err)
	}
	rows, err := conn.Query(ctx, "SELECT throwIf(number = 600000) FROM numbers(1000000) SETTINGS max_block_size = 65505")
	if err == nil {
		for rows.Next() {
		}
		err = rows.Err()
		rows.Close()
	}
	if err == nil {
		return errors.New("a failing stream ended well")
	}
	return nil
}
