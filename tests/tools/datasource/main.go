// Command datasource reads Decima's answers as Grafana's data source for Parca does: with the libraries and the versions that
// Grafana builds it from, by the same calls, and with the same unchecked assertions about types. Where Grafana's plugin would panic
// or refuse, this program ends with status 1 and says why.
//
//	datasource record FILE...                       each file is the Arrow record of a flame graph
//	datasource ask CONTRACT URL FROM TO TYPE [SELECTOR]   every call of the plugin, against a server
//
// CONTRACT is a FileDescriptorSet of Parca's API, FROM and TO are in seconds since 1970. Both print a line of JSON for each thing read.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

func main() {
	failed, err := false, error(nil)
	switch arguments := os.Args[1:]; {
	case len(arguments) > 1 && arguments[0] == "record":
		failed = readFiles(arguments[1:])
	case (len(arguments) == 6 || len(arguments) == 7) && arguments[0] == "ask":
		err = askAs(arguments[1:])
	default:
		err = fmt.Errorf("usage: datasource record FILE... | datasource ask CONTRACT URL FROM TO TYPE [SELECTOR]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// readFiles reads every file, also after one that fails.
func readFiles(paths []string) (failed bool) {
	for _, path := range paths {
		bytes, err := os.ReadFile(path)
		if err == nil {
			var graph flameGraph
			if graph, err = readRecord(bytes); err == nil {
				print(map[string]any{"file": path, "rows": len(graph.rows), "total": graph.total(), "height": graph.height()})
				continue
			}
		}
		failed = true
		fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
	}
	return failed
}

func askAs(arguments []string) error {
	from, err := strconv.ParseInt(arguments[2], 10, 64)
	if err != nil {
		return fmt.Errorf("FROM: %w", err)
	}
	to, err := strconv.ParseInt(arguments[3], 10, 64)
	if err != nil {
		return fmt.Errorf("TO: %w", err)
	}
	selector := ""
	if len(arguments) == 6 {
		selector = arguments[5]
	}
	client, err := dial(arguments[0], arguments[1])
	if err != nil {
		return err
	}
	return client.ask(from, to, arguments[4], selector)
}

func print(line map[string]any) {
	// A map of strings and numbers is always JSON.
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}
