// Reads usage records of a running Turnpike as Grafana's ClickHouse plug-in does: clickhouse-go over HTTP.
//
// Usage: records ADDRESS DATABASE, with the password in CLICKHOUSE_PASSWORD. Prints one JSON object per record, and exits
// 1 at the first fault.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
)

type record struct {
	At          time.Time `json:"ts" ch:"ts"`
	RequestID   uuid.UUID `json:"request_id" ch:"request_id"`
	Trace       []byte    `json:"-" ch:"trace_id"`
	TraceID     string    `json:"trace_id"`
	Consumer    string    `json:"consumer" ch:"consumer"`
	Route       string    `json:"route" ch:"route"`
	Status      uint16    `json:"status" ch:"status"`
	GrpcStatus  int16     `json:"grpc_status" ch:"grpc_status"`
	Attempts    uint8     `json:"attempts" ch:"attempts"`
	DurationUS  uint32    `json:"duration_us" ch:"duration_us"`
	Bytes       uint64    `json:"response_bytes" ch:"response_bytes"`
	ChargeUnits []uint64  `json:"charge_units" ch:"charge_units"`
	N           uint32    `json:"n" ch:"n"`
	Path        string    `json:"path" ch:"path"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: records ADDRESS DATABASE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := print(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func print(ctx context.Context, address, database string) error {
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr:        []string{address},
		Protocol:    clickhouse.HTTP,
		Auth:        clickhouse.Auth{Database: database, Username: "default", Password: os.Getenv("CLICKHOUSE_PASSWORD")},
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	rows, err := conn.Query(ctx, `SELECT ts, request_id, trace_id, consumer, route, status, grpc_status, attempts, duration_us,
		response_bytes, charge_units, n, path FROM usage_records ORDER BY ts, request_id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	out := json.NewEncoder(os.Stdout)
	for rows.Next() {
		var read record
		if err := rows.ScanStruct(&read); err != nil {
			return err
		}
		read.TraceID = hex.EncodeToString(read.Trace)
		if err := out.Encode(read); err != nil {
			return err
		}
	}
	return rows.Err()
}
