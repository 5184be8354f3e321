package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// flameGraph is what the data source hands to Grafana's panel: frames in preorder, each with its level.
type flameGraph struct {
	rows []row
}

type row struct {
	Name  string
	Level int64
	Value int64
	Self  int64
}

func (g flameGraph) total() int64 { return g.rows[0].Value }

func (g flameGraph) height() (height int64) {
	for _, row := range g.rows {
		height = max(height, row.Level+1)
	}
	return height
}

// readRecord reads a record as the data source does. A panic there is an error here.
func readRecord(record []byte) (graph flameGraph, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the data source panics: %v", cause)
		}
	}()
	reader, err := ipc.NewReader(bytes.NewReader(record))
	if err != nil {
		return flameGraph{}, fmt.Errorf("the data source refuses the record: %w", err)
	}
	defer reader.Release()
	// The plugin takes the first batch without asking whether there is one.
	if !reader.Next() {
		return flameGraph{}, fmt.Errorf("there is no batch: %v", reader.Err())
	}
	batch := reader.Record()
	batch.Retain()
	defer batch.Release()
	graph = columnsOf(batch).walk()

	// What the plugin does not ask, and would leave out without a word.
	if int64(len(graph.rows)) != batch.NumRows() {
		return graph, fmt.Errorf("of %d rows the data source reaches %d", batch.NumRows(), len(graph.rows))
	}
	if reader.Next() {
		return graph, fmt.Errorf("a second batch, which the data source does not read")
	}
	return graph, reader.Err()
}

// columns are those that the plugin reads, under the types that it asserts.
type columns struct {
	children   *array.List
	rowOf      *array.Uint32
	cumulative func(row int) int64
	file       *array.Dictionary
	files      *array.Binary
	function   *array.Dictionary
	functions  *array.Binary
	address    *array.Uint64
}

// columnsOf panics where the plugin does: a column that is missing, or of another type.
func columnsOf(batch arrow.Record) columns {
	column := func(name string) arrow.Array {
		places := batch.Schema().FieldIndices(name)
		if len(places) == 0 {
			panic("no column " + name)
		}
		return batch.Column(places[0])
	}
	var c columns
	c.children = is[*array.List](column("children"), "children")
	c.rowOf = is[*array.Uint32](c.children.ListValues(), "values of children")
	c.cumulative = unsigned(column("cumulative"), "cumulative")
	c.file = is[*array.Dictionary](column("mapping_file"), "mapping_file")
	c.files = is[*array.Binary](c.file.Dictionary(), "dictionary of mapping_file")
	c.function = is[*array.Dictionary](column("function_name"), "function_name")
	c.functions = is[*array.Binary](c.function.Dictionary(), "dictionary of function_name")
	c.address = is[*array.Uint64](column("location_address"), "location_address")
	return c
}

func is[Wanted arrow.Array](found arrow.Array, what string) Wanted {
	wanted, ok := found.(Wanted)
	if !ok {
		panic(fmt.Sprintf("%s is a %T and not a %T", what, found, wanted))
	}
	return wanted
}

// unsigned reads any width of unsigned integers; the plugin knows no signed ones.
func unsigned(column arrow.Array, what string) func(row int) int64 {
	switch column := column.(type) {
	case *array.Uint8:
		return func(row int) int64 { return int64(column.Value(row)) }
	case *array.Uint16:
		return func(row int) int64 { return int64(column.Value(row)) }
	case *array.Uint32:
		return func(row int) int64 { return int64(column.Value(row)) }
	case *array.Uint64:
		return func(row int) int64 { return int64(column.Value(row)) }
	}
	panic(fmt.Sprintf("%s is a %T", what, column))
}

// walk goes from row 0 down. Whether a child is null is asked, as the plugin asks it, at the child's row number and not at its place in
// the list: harmless only as long as no child is null.
func (c columns) walk() flameGraph {
	type node struct {
		row   int
		level int64
	}
	var graph flameGraph
	ahead := []node{{}}
	for len(ahead) > 0 {
		last := len(ahead) - 1
		here := ahead[last]
		ahead = ahead[:last]
		var below int64
		begin, end := c.children.ValueOffsets(here.row)
		for at := end - 1; at >= begin; at-- {
			child := int(c.rowOf.Value(int(at)))
			if here.row == 0 || c.rowOf.IsValid(child) {
				below += c.cumulative(child)
				ahead = append(ahead, node{child, here.level + 1})
			}
		}
		name := "total"
		if here.row != 0 {
			name = c.name(here.row)
		}
		value := c.cumulative(here.row)
		graph.rows = append(graph.rows, row{name, here.level, value, value - below})
	}
	return graph
}

func (c columns) name(row int) string {
	name := ""
	if c.file.IsValid(row) {
		file := c.files.ValueString(c.file.GetValueIndex(row))
		name = "[" + file[strings.LastIndexByte(file, '/')+1:] + "] "
	}
	if c.function.IsValid(row) {
		if function := c.functions.ValueString(c.function.GetValueIndex(row)); function != "" {
			return name + function
		}
	}
	if c.address.IsValid(row) {
		name += "0x" + strconv.FormatUint(c.address.Value(row), 16)
	}
	if name == "" {
		return "<unknown>"
	}
	return name
}
