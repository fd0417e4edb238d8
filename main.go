// Command checkpoint12 reports whether a GPT-2 engine is correct and, if it is not,
// the stage at which its numbers first go wrong. README.md is the way in.
package main

import (
	"os"

	"checkpoint12/harness/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
