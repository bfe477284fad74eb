package treecache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

// shop makes the tree of the examples, and returns what takes it away again.
func shop() func() {
	zk.create("/shop", "")
	zk.create("/shop/price", "12")
	zk.create("/shop/services/cart", "10.0.0.1:80")
	zk.create("/shop/services/search", "10.0.0.2:80")
	return func() { zk.delete("/shop") }
}

// loaded returns a client and a loaded cache of the examples' tree.
func loaded() (*treecache.Client, *treecache.Cache) {
	client, err := treecache.Open(hosts)
	if err != nil {
		log.Fatal(err)
	}
	cache, err := client.Cache("/shop")
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(cache.Start(), cache.WaitInitialized(context.Background())); err != nil {
		log.Fatal(err)
	}
	return client, cache
}

func Example() {
	defer shop()()

	client, err := treecache.Open(hosts, treecache.WithSessionTimeout(6*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	cache, err := client.Cache("/shop")
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	if err := cache.Start(); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := cache.WaitInitialized(ctx); err != nil {
		log.Fatal(err)
	}
	price, err := cache.Get("/shop/price")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", price.Data)
	// Output: 12
}

func ExampleCache_Events() {
	defer shop()()
	client, cache := loaded()
	defer client.Close()
	defer cache.Close()

	for event, err := range cache.Events(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Type, event.Path)
		if event.Type == treecache.Initialized {
			break
		}
	}
	// Output:
	// node added /shop
	// node added /shop/price
	// node added /shop/services
	// node added /shop/services/cart
	// node added /shop/services/search
	// initialized
}

func ExampleQueue_Next() {
	defer shop()()
	client, cache := loaded()
	defer client.Close()
	defer cache.Close()
	queue, err := cache.Queue(treecache.WithCapacity(1000))
	if err != nil {
		log.Fatal(err)
	}
	defer queue.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for {
		event, err := queue.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			fmt.Println("nothing more for now")
			return
		} else if err != nil {
			log.Fatal(err)
		}
		if event.LastOfVersion {
			fmt.Println("the tree so far is complete with", event.Path)
		}
	}
	// Output:
	// the tree so far is complete with /shop/services/search
	// nothing more for now
}

func ExampleCache_ChildrenData() {
	defer shop()()
	client, cache := loaded()
	defer client.Close()
	defer cache.Close()

	services, err := cache.ChildrenData("/shop/services")
	if err != nil {
		log.Fatal(err)
	}
	for _, service := range services {
		fmt.Printf("%s at %s\n", service.Name, service.Node.Data)
	}
	// Output:
	// cart at 10.0.0.1:80
	// search at 10.0.0.2:80
}

func ExampleSnapshot_All() {
	defer shop()()
	client, cache := loaded()
	defer client.Close()
	defer cache.Close()
	snapshot, err := cache.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	defer snapshot.Close()

	for path, node := range snapshot.All() {
		fmt.Printf("%s %q\n", path, node.Data)
	}
	// Output:
	// /shop ""
	// /shop/price "12"
	// /shop/services ""
	// /shop/services/cart "10.0.0.1:80"
	// /shop/services/search "10.0.0.2:80"
}

func ExampleSnapshot_Walk() {
	defer shop()()
	client, cache := loaded()
	defer client.Close()
	defer cache.Close()
	snapshot, err := cache.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	defer snapshot.Close()

	err = snapshot.Walk("/shop", func(path string, node treecache.Node) error {
		fmt.Println(path, "has", node.Stat.NumChildren, "children")
		if path == "/shop/services" {
			return treecache.SkipChildren
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// /shop has 2 children
	// /shop/price has 0 children
	// /shop/services has 2 children
}

func ExampleSnapshot_Diff() {
	defer shop()()
	client, cache := loaded()
	defer client.Close()
	defer cache.Close()

	before, err := cache.Snapshot()
	if err != nil {
		log.Fatal(err)
	}
	zk.set("/shop/price", "15")
	zk.delete("/shop/services/cart")
	if err := cache.Sync(context.Background()); err != nil {
		log.Fatal(err)
	}
	after, err := cache.Snapshot()
	if err != nil {
		log.Fatal(err)
	}

	for event, err := range before.Diff(after) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Type, event.Path)
	}
	// Output:
	// node removed /shop/services/cart
	// node updated /shop/price
}

func ExampleStatus() {
	defer shop()()
	client, cache := loaded()
	defer client.Close()
	defer cache.Close()

	_, err := cache.Get("/shop/discount")
	fmt.Println(errors.Is(err, treecache.ErrNoNode))
	fmt.Println(err)

	_, err = treecache.Open(hosts, treecache.WithSessionTimeout(time.Microsecond))
	var e *treecache.Error
	if errors.As(err, &e) {
		fmt.Println(e.Status, e.Key)
	}
	// Output:
	// true
	// treecache: get /shop/discount: no such node
	// invalid argument session.timeout.ms
}
