//! Policy-gradient controllers.
