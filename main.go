// Command checkpoint12 says whether a GPT-2 engine is right and, if it is not,
// at which stage its numbers first go wrong. README.md is the way in.
package main

import (
	"os"

	"checkpoint12/harness/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
