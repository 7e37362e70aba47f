#define BOOST_TEST_MODULE gamepicker
#include <boost/test/unit_test.hpp>
