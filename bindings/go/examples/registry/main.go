// Registry is a service registry for clients: it follows the services that have registered themselves in ZooKeeper,
// tells what comes and goes, and answers where a service is.
//
//	registry [-root /services] HOSTS
//
// An instance is a node with its address for data, such as /services/web/1 with "10.0.0.1:80". Each line of the
// standard input names a service, and is answered with its addresses, once these are known. The program ends with its
// input, or when it is interrupted; so this is a look-up for a script:
//
//	echo web | registry zk1:2181
//
// To register is the services' own affair.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("registry: ")
	root := flag.String("root", "/services", "the node that the services are below")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: registry [-root /services] HOSTS")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Arg(0), *root); err != nil {
		log.Fatal(err)
	}
}

// run follows the services until ctx ends, or the standard input.
func run(ctx context.Context, hosts, root string) error {
	client, err := treecache.Open(hosts)
	if err != nil {
		return err
	}
	defer client.Close()
	cache, err := client.Cache(root, treecache.WithRootCreate(false)) // it is the services' own affair
	if err != nil {
		return err
	}
	defer cache.Close()
	if err := cache.Start(); err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	table := newTable(root)
	go func() {
		defer cancel()
		answer(ctx, table, os.Stdin, os.Stdout)
	}()

	err = follow(ctx, cache, root, table, os.Stdout)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// follow keeps the table, and tells what has changed.
func follow(ctx context.Context, cache *treecache.Cache, root string, table *table, out io.Writer) error {
	var version []treecache.Event
	for event, err := range cache.Events(ctx, treecache.WithFaults()) {
		if err != nil {
			return err
		}
		switch event.Type {
		case treecache.NodeAdded, treecache.NodeUpdated, treecache.NodeRemoved:
			// A version is applied as one: nobody finds a service that moves at neither place, or at both.
			version = append(version, event)
			if event.LastOfVersion {
				for _, change := range table.apply(version) {
					fmt.Fprintln(out, change)
				}
				version = nil
			}
		case treecache.Initialized:
			fmt.Fprintln(out, event.Type)
			table.complete()
		case treecache.InStep:
			if _, err := cache.Get(root); errors.Is(err, treecache.ErrNoNode) {
				fmt.Fprintln(out, "in step; the root does not exist")
			} else {
				fmt.Fprintln(out, event.Type)
			}
		case treecache.Fault:
			log.Print(event.Fault)
		default:
			fmt.Fprintln(out, event.Type)
		}
	}
	return nil
}

// answer answers the questions of in, one in a line.
func answer(ctx context.Context, table *table, in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		addresses, err := table.lookUp(ctx, lines.Text())
		if err != nil {
			return
		}
		fmt.Fprintf(out, "%s: %v\n", lines.Text(), addresses)
	}
}
