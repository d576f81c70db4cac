// A table whose columns say how a row is shown.

import type { ReactNode } from "react";

export interface Column<Row> {
  title: string;
  show: (row: Row) => ReactNode;
  number?: boolean;
}

interface Props<Row> {
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  name: (row: Row) => string;
  empty: string;
}

export function Table<Row>({ label, columns, rows, name, empty }: Props<Row>) {
  if (rows.length === 0) return <p className="muted">{empty}</p>;
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={`${label}, table`}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.title} scope="col" className={column.number ? "number" : undefined}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={name(row)}>
              {columns.map((column) => (
                <td key={column.title} className={column.number ? "number" : undefined}>
                  {column.show(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
