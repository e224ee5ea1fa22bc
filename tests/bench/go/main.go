// Centrifuge, the library behind Centrifugo, as a peer of the benchmark: a token is checked when a client connects, the server subscribes it
// to its tenant's channel, and an HTTP route publishes into that. With REDIS_URL set it is one of several nodes.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/golang-jwt/jwt/v5"
)

type claims struct {
	TenantID string `json:"tenant_id"`
	jwt.RegisteredClaims
}

type event struct {
	Event json.RawMessage `json:"event"`
	Data  json.RawMessage `json:"data"`
}

func channel(tenant string) string {
	return "tenant:" + tenant
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	interval, err := strconv.Atoi(os.Getenv("PING_INTERVAL_MS"))
	if err != nil {
		return err
	}
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	if url := os.Getenv("REDIS_URL"); url != "" {
		if err := useRedis(node, url); err != nil {
			return err
		}
	}
	node.OnConnecting(authenticate([]byte(os.Getenv("JWT_SECRET"))))
	if err := node.Run(); err != nil {
		return err
	}

	pingInterval := time.Duration(interval) * time.Millisecond
	routes := http.NewServeMux()
	routes.Handle("GET /connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		// It has to be less than the interval.
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: pingInterval, PongTimeout: pingInterval * 4 / 5},
		CheckOrigin:    func(request *http.Request) bool { return request.Header.Get("Origin") == os.Getenv("FRONTEND_URL") },
	}))
	routes.HandleFunc("POST /v1/tenants/{tenant}/events", publish(node, "Bearer "+os.Getenv("API_KEY")))
	return http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), routes)
}

func useRedis(node *centrifuge.Node, url string) error {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: url})
	if err != nil {
		return err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return err
	}
	node.SetBroker(broker)
	return nil
}

func authenticate(secret []byte) centrifuge.ConnectingHandler {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}))
	key := func(*jwt.Token) (any, error) { return secret, nil }
	return func(_ context.Context, connecting centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		var claims claims
		if _, err := parser.ParseWithClaims(connecting.Token, &claims, key); err != nil {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{UserID: claims.Subject},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel(claims.TenantID): {}},
		}, nil
	}
}

// What is published is what a Socket.IO event holds, an array of the event's name and its data, so that both are as long.
func publish(node *centrifuge.Node, authorization string) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		if request.Header.Get("Authorization") != authorization {
			response.WriteHeader(http.StatusUnauthorized)
			return
		}
		var event event
		if err := json.NewDecoder(request.Body).Decode(&event); err != nil {
			response.WriteHeader(http.StatusBadRequest)
			return
		}
		data := make([]byte, 0, len(event.Event)+len(event.Data)+3)
		data = append(append(append(append(append(data, '['), event.Event...), ','), event.Data...), ']')
		if _, err := node.Publish(channel(request.PathValue("tenant")), data); err != nil {
			response.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		response.Header().Set("Content-Length", "0")
		response.WriteHeader(http.StatusAccepted)
	}
}
