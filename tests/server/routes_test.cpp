#include "server/routes.h"

#include <gtest/gtest.h>

namespace latent8 {
namespace {

RouteTable table() {
  RouteTable routes;
  const Route nothing = [](const Call&) {};
  routes.add({.method = "GET", .path = "/", .handle = nothing});
  routes.add({.method = "GET", .path = "/v2/models/{model}", .handle = nothing});
  routes.add({.method = "POST", .path = "/v2/models/{model}/versions/{version}/infer", .handle = nothing});
  routes.add({.method = "GET", .path = "/stop", .handle = nothing, .planes = kStop});
  return routes;
}

TEST(RouteTable, GivesTheSegmentsThatStandForParameters) {
  const RouteTable routes = table();

  const RouteMatch match = routes.find(kBusiness, "POST", "/v2/models/r1.5/versions/2/infer");

  ASSERT_NE(match.entry, nullptr);
  EXPECT_EQ(match.parameters.at("model"), "r1.5");
  EXPECT_EQ(match.parameters.at("version"), "2");
}

TEST(RouteTable, FindsWholePathsOnly) {
  const RouteTable routes = table();

  for (const char* path : {"", "v2", "/v2", "/v2/models", "/v2/models/", "/v2/models//", "/v2/models/a/",
                           "/v2/models/a/b", "//v2/models/a", "//"})
    EXPECT_EQ(routes.find(kBusiness, "GET", path).entry, nullptr) << path;
  EXPECT_NE(routes.find(kBusiness, "GET", "/").entry, nullptr);
  EXPECT_NE(routes.find(kBusiness, "GET", "/v2/models/a").entry, nullptr);
}

TEST(RouteTable, NamesTheMethodsOfAPathThatHasOthers) {
  const RouteTable routes = table();

  EXPECT_EQ(routes.find(kBusiness, "POST", "/v2/models/a").allowed, "GET");
  EXPECT_EQ(routes.find(kBusiness, "POST", "/other").allowed, "");
  EXPECT_NE(routes.find(kBusiness, "HEAD", "/v2/models/a").entry, nullptr);
}

TEST(RouteTable, HidesRoutesOfOtherPlanes) {
  const RouteTable routes = table();

  EXPECT_EQ(routes.find(kAllButStop, "GET", "/stop").entry, nullptr);
  EXPECT_NE(routes.find(kManagement | kStop, "GET", "/stop").entry, nullptr);
}

}  // namespace
}  // namespace latent8
