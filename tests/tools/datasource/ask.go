package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const service = "parca.query.v1alpha1.QueryService"

// As many points as a panel is wide.
const maxDataPoints = 800

// client calls the query service by gRPC-Web over plain HTTP, as the plugin does.
type client struct {
	methods protoreflect.MethodDescriptors
	url     string
}

func dial(contract, url string) (client, error) {
	bytes, err := os.ReadFile(contract)
	if err != nil {
		return client{}, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(bytes, &set); err != nil {
		return client{}, fmt.Errorf("%s: %w", contract, err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return client{}, fmt.Errorf("%s: %w", contract, err)
	}
	return find(files, url)
}

func find(files *protoregistry.Files, url string) (client, error) {
	found, err := files.FindDescriptorByName(service)
	if err != nil {
		return client{}, err
	}
	return client{found.(protoreflect.ServiceDescriptor).Methods(), strings.TrimRight(url, "/")}, nil
}

// call sends a request that is given in JSON.
func (c client) call(name, request string) (protoreflect.Message, error) {
	method := c.methods.ByName(protoreflect.Name(name))
	message := dynamicpb.NewMessage(method.Input())
	if err := protojson.Unmarshal([]byte(request), message); err != nil {
		return nil, fmt.Errorf("%s: %w", request, err)
	}
	rpc := connect.NewClient[dynamicpb.Message, dynamicpb.Message](http.DefaultClient, c.url+"/"+service+"/"+name,
		connect.WithGRPCWeb(), connect.WithSchema(method),
		connect.WithResponseInitializer(func(_ connect.Spec, reply any) error {
			*reply.(*dynamicpb.Message) = *dynamicpb.NewMessage(method.Output())
			return nil
		}))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	reply, err := rpc.CallUnary(ctx, connect.NewRequest(message))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, request, err)
	}
	return reply.Msg, nil
}

// ask makes the plugin's calls in the order in which an editor and a panel do.
func (c client) ask(from, to int64, profileType, selector string) error {
	// both "Save & test" and the list of the editor; never with a range
	reply, err := c.call("ProfileTypes", `{}`)
	if err != nil {
		return err
	}
	types := []string{}
	for one := range items(reply, "types") {
		id := []string{}
		for _, part := range []protoreflect.Name{"name", "sample_type", "sample_unit", "period_type", "period_unit"} {
			id = append(id, field(one.Message(), part).String())
		}
		if field(one.Message(), "delta").Bool() {
			id = append(id, "delta")
		}
		types = append(types, strings.Join(id, ":"))
	}
	print(map[string]any{"types": types})

	if reply, err = c.call("Labels", `{}`); err != nil {
		return err
	}
	labels := map[string][]string{}
	for label := range items(reply, "label_names") {
		values, err := c.call("Values", fmt.Sprintf(`{"labelName": %q}`, label.String()))
		if err != nil {
			return err
		}
		labels[label.String()] = []string{}
		for value := range items(values, "label_values") {
			labels[label.String()] = append(labels[label.String()], value.String())
		}
	}
	print(map[string]any{"labels": labels})

	at := func(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
	query := fmt.Sprintf(`"query": %q, "start": %q, "end": %q`, profileType+selector, at(from), at(to))
	if reply, err = c.call("QueryRange", fmt.Sprintf(`{%s, "limit": %d}`, query, maxDataPoints)); err != nil {
		return err
	}
	for series := range items(reply, "series") {
		if err := printSeries(series.Message()); err != nil {
			return err
		}
	}

	request := fmt.Sprintf(`{"mode": "MODE_MERGE", "merge": {%s}, "reportType": "REPORT_TYPE_FLAMEGRAPH_ARROW"}`, query)
	if reply, err = c.call("Query", request); err != nil {
		return err
	}
	report := reply.WhichOneof(reply.Descriptor().Oneofs().ByName("report"))
	if report == nil || report.Name() != "flamegraph_arrow" {
		return fmt.Errorf("the report is %v: the data source asks to update Parca", report)
	}
	graph, err := readRecord(field(field(reply, "flamegraph_arrow").Message(), "record").Bytes())
	if err != nil {
		return err
	}
	print(map[string]any{"flameGraph": graph.rows, "unit": field(field(reply, "flamegraph_arrow").Message(), "unit").String()})
	return nil
}

// printSeries reads the labels of a series and the whole values at its times; the plugin does not look at rates.
func printSeries(series protoreflect.Message) error {
	if !series.Has(series.Descriptor().Fields().ByName("labelset")) {
		return fmt.Errorf("a series without a label set: the data source panics")
	}
	labels := map[string]string{}
	for label := range items(field(series, "labelset").Message(), "labels") {
		labels[field(label.Message(), "name").String()] = field(label.Message(), "value").String()
	}
	points := [][2]int64{}
	for sample := range items(series, "samples") {
		seconds := field(field(sample.Message(), "timestamp").Message(), "seconds").Int()
		points = append(points, [2]int64{seconds, field(sample.Message(), "value").Int()})
	}
	print(map[string]any{"series": labels, "points": points})
	return nil
}

func field(message protoreflect.Message, name protoreflect.Name) protoreflect.Value {
	return message.Get(message.Descriptor().Fields().ByName(name))
}

// items gives the elements of a repeated field.
func items(message protoreflect.Message, name protoreflect.Name) func(yield func(protoreflect.Value) bool) {
	list := field(message, name).List()
	return func(yield func(protoreflect.Value) bool) {
		for at := range list.Len() {
			if !yield(list.Get(at)) {
				return
			}
		}
	}
}
